"""loader=auto: from settings to a probe, from its pick to the plan, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from chirpid import build, native
from chirpid.bench.facts import machine as machine_facts
from chirpid.cli.auto_work import limits_of, work_of
from chirpid.config.paths import cache_dir
from chirpid.config.schema import DatasetKind
from chirpid.data.modes import content_key, store_key, whole_cache
from chirpid.engine.precision import deterministic, threads
from chirpid.engine.rehearsal import Rehearsal, same_draws
from chirpid.errors import ChirpError
from chirpid.loading.advice import BUSY
from chirpid.loading.monitor.usage import CoreWatch
from chirpid.loading.plan import Picks
from chirpid.loading.room import give_back
from chirpid.loading.stages import bound_phrase
from chirpid.loading.tune import Candidate, Work, is_off
from chirpid.loading.tune.choose import refused_modes
from chirpid.loading.tune.memory import forget, probe_key, recall, remember
from chirpid.loading.tune.probe import Outcome, Subject
from chirpid.loading.tune.probe import tune as tune_subject
from chirpid.types import Mode

if TYPE_CHECKING:
    from chirpid.cli.prepare import Prepared
    from chirpid.engine.rule import FoldOutcome

_SHOWN = 12
_COLUMNS = ("mode", "backend", "workers", "prefetch", "samples/s", "wait", "build", "total",
            "bound", "from", "")  # fmt: skip


@dataclass(slots=True)
class Tuned:
    """What a probe chose, and where it is remembered."""

    outcome: Outcome
    pick: Candidate
    work: Work
    folder: Path
    key: str
    others_share: float = 0.0
    """Share that other programs had of the core time that the probe was ready to use."""

    def line(self) -> str:
        """Return what was chosen and why."""
        setting, prediction = self.pick.setting, self.pick.prediction
        build_s = prediction.build_s
        building = f", {build_s:.1f} s of it to build the rows" if build_s >= 0.05 else ""
        how = f"probed for {self.outcome.probe_s:.1f} s"
        if self.outcome.remembered:
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.outcome.found.made_at))
            how = f"probed on {made}, remembered"
        elif self.others_share >= BUSY:
            how += f"; uncertain, as other programs had {self.others_share:.0%} of its core time"
        return (
            f"loader=auto: {setting.text}: {prediction.samples_per_s:.0f} samples/s predicted, "
            f"wait {prediction.wait_share:.1%}, {binds(prediction.bound)}; "
            f"{prediction.total_s:.1f} s in all{building} ({how})"
        )

    def print_table(self, console: Console) -> None:
        """Print what every setting would come to, the fastest first."""
        rows = [_COLUMNS]
        for one in self._told():
            s, p = one.setting, one.prediction
            rows.append((
                s.mode.value, s.backend.value, str(s.num_workers), str(s.prefetch),
                f"{p.samples_per_s:.0f}", f"{p.wait_share:.1%}", f"{p.build_s:.1f} s",
                f"{p.total_s:.1f} s", p.bound, "tried" if p.tried else "predicted",
                "<- taken" if one == self.pick else "",
            ))  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        console.print("What each setting would come to, of those that fit the budgets")
        for row in rows:  # not a rich table: in a pipe that would fold at 80 columns
            line = "  ".join(f"{t:<{w}}" for t, w in zip(row, widths, strict=True))
            console.print(line.rstrip(), soft_wrap=True)

    def _told(self) -> list[Candidate]:
        """Return the best of each mode, backend and number of workers, and what was taken."""
        best: dict[tuple[object, ...], Candidate] = {}
        for one in self.outcome.ranked:
            best.setdefault(_row_key(one), one)
        best[_row_key(self.pick)] = self.pick
        told = list(best.values())[:_SHOWN]
        return told if self.pick in told else [*told, self.pick]

    def predicted(self) -> dict[str, float]:
        """Return what the training is predicted to come to."""
        names = ("samples_per_s", "wait_share", "epoch_s", "build_s", "total_s")
        return {name: getattr(self.pick.prediction, name) for name in names}

    def results(
        self, outcomes: Sequence[FoldOutcome], *, seconds: float, whole: bool
    ) -> dict[str, Any]:
        """Return what results.json says of it: predicted beside achieved.

        Args:
            seconds: of the run, from building the rows to the last validation.
            whole: the run was not stopped and resumed, so that these are comparable.
        """
        p, predicted = self.pick.prediction, self.predicted()
        achieved = {
            name: _mean(outcomes, f"loader/{name}") for name in ("samples_per_s", "wait_share")
        }
        setting = {name: getattr(v, "value", v) for name, v in asdict(self.pick.setting).items()}
        return {
            "chosen": {**setting, "bound": p.bound, "tried": p.tried},
            "predicted": predicted,
            "achieved": {**achieved, "total_s": seconds if whole else None},
            "probe_s": round(self.outcome.probe_s, 3),
            "remembered": self.outcome.remembered,
        }


def tune(prepared: Prepared, console: Console, given: Collection[str] | None) -> None:
    """Choose mode, backend, workers and prefetch by a probe; change `prepared` and tell of it.

    What somebody chose stays as it is. If nothing can be probed, so does all the rest.
    """
    config = prepared.config
    is_fixed = config.mode.name is not Mode.cached if given is None else "mode.name" in given
    options = build.store_options(config, prepared.machine, prepared.plan)
    key = store_key(prepared.maker, build.frontend_settings(config))
    store = whole_cache(prepared.maker, key, options)
    modes = (config.mode.name,) if is_fixed else (Mode.cached, Mode.eager, Mode.lazy)
    work = work_of(prepared, cached_already=store is not None)
    if not work.train_samples:
        return  # no batch to train on: whoever checks the folds says so
    subject = Subject(
        maker=prepared.maker,
        key_N=prepared.task.key_N,
        work=work,
        limits=limits_of(config, prepared.machine, prepared.device, modes),
        device=prepared.device,
        cache_root=cache_dir(config.paths),
        makes_rows=config.dataset.kind is not DatasetKind.shards,
        store=store,
    )
    folder, name = where_kept(prepared)
    found = recall(folder, name)
    if found is not None and found.costs.batch_size != work.batch_size:
        found = None  # of folds whose batches were of another size
    watch = CoreWatch()
    try:
        with (
            same_draws(),
            deterministic(config.engine.deterministic),
            threads(config.engine.num_threads),
        ):
            outcome = tune_subject(
                subject,
                lambda: _rehearsal(prepared),
                probe_s=config.loader.probe_s,
                found=found,
            )
            others_share = watch.others_share(work.num_cores)
    except (ChirpError, OSError, RuntimeError, MemoryError) as error:  # training tells it better
        console.print(
            f"loader=auto: the probe failed ({_first_line(error)}); the plan is made without"
        )
        return
    give_back()  # what the throw-away model took: where memory is short, files need the room
    if prepared.device.type == "cuda":
        torch.cuda.empty_cache()
    for line in () if is_fixed else refused_modes(subject.work, subject.limits):
        console.print(f"loader=auto: {line}")
    if outcome.pick is None:  # whoever checks the budgets says what, and what to do
        console.print("loader=auto: nothing that may be chosen fits; the plan is made without")
        return
    if not outcome.remembered:
        remember(folder, name, outcome.found, {"dataset": prepared.manifest.name})
    _take(prepared, Tuned(outcome, outcome.pick, work, folder, name, others_share))
    assert prepared.tuned is not None
    console.print(prepared.tuned.line())


def where_kept(prepared: Prepared) -> tuple[Path, str]:
    """Return the folder and the name that a probe of this training is remembered under."""
    return cache_dir(prepared.config.paths) / "probes", probe_key(_facts(prepared))


def results(
    prepared: Prepared, outcomes: Sequence[FoldOutcome], *, seconds: float, whole: bool
) -> dict[str, Any]:
    """Return {"loader": ...} for results.json, or nothing without loader=auto.

    A prediction that turned out wrong is forgotten: the next run probes again.
    """
    tuned = prepared.tuned
    if tuned is None:
        return {}
    told = tuned.results(outcomes, seconds=seconds, whole=whole)
    achieved = told["achieved"]["samples_per_s"]
    if achieved is not None and whole and is_off(tuned.pick.prediction.samples_per_s, achieved):
        forget(tuned.folder, tuned.key)
    return {"loader": told}


def achieved_line(told: Mapping[str, Any]) -> str | None:
    """Return one line on predicted and achieved figures of results.json; None if it has none."""
    loader = told.get("loader")
    if not isinstance(loader, dict) or loader["achieved"]["samples_per_s"] is None:
        return None
    predicted, achieved = loader["predicted"], loader["achieved"]
    lasted = ""
    if achieved["total_s"] is not None:
        lasted = f", {achieved['total_s']:.1f} s in all ({predicted['total_s']:.1f} s predicted)"
    return (
        f"loader=auto: {achieved['samples_per_s']:.0f} samples/s achieved "
        f"({predicted['samples_per_s']:.0f} predicted), wait {achieved['wait_share']:.1%} "
        f"({predicted['wait_share']:.1%} predicted){lasted}"
    )


def metrics(told: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of `results` as MLflow shows them, beside those that were achieved."""
    loader = told.get("loader")
    if not isinstance(loader, dict):
        return {}
    figures = {f"loader/predicted_{name}": float(v) for name, v in loader["predicted"].items()}
    if loader["achieved"]["total_s"] is not None:
        figures["loader/total_s"] = float(loader["achieved"]["total_s"])
    return figures


def binds(bound: str) -> str:
    """Return in words what binds."""
    if bound == "cores":
        return "model and loading share the cores"
    return f"{bound_phrase(bound)} bounds it"


def _row_key(one: Candidate) -> tuple[object, ...]:
    return one.setting.mode, one.setting.backend, one.setting.num_workers


def _take(prepared: Prepared, tuned: Tuned) -> None:
    """Make the plan of what was picked."""
    setting, prediction, config = tuned.pick.setting, tuned.pick.prediction, prepared.config
    if setting.mode is not config.mode.name:
        config = replace(config, mode=replace(config.mode, name=setting.mode))
    picks = Picks(
        backend=setting.backend,
        num_workers=setting.num_workers,
        prefetch=setting.prefetch,
        reason=f"{prediction.samples_per_s:.0f} samples/s predicted, {binds(prediction.bound)}",
        pin_memory=tuned.outcome.pin_memory,
    )
    spec, num_segments = prepared.maker.spec, len(prepared.segments)
    prepared.plan = build.plan_of(config, prepared.machine, spec, num_segments, picks)
    prepared.config, prepared.tuned = config, tuned


def _rehearsal(prepared: Prepared) -> Rehearsal:
    make = build.model_maker(prepared.config, prepared.task.classes)
    return Rehearsal(prepared.task, prepared.rule, make, prepared.device)


def _facts(prepared: Prepared) -> dict[str, object]:
    """Return all that the costs depend on: machine, set and settings."""
    config, device = prepared.config, prepared.device
    known = machine_facts()
    engine = config.engine
    return {
        "machine": [known[name] for name in ("cpu", "cores", "ram_gib", "torch", "gpu")],
        "kernels": native.describe(),
        "device": str(device),
        "model_threads": engine.num_threads or torch.get_num_threads(),
        "rows": content_key(prepared.maker, build.frontend_settings(config)),
        "where": str(prepared.segments.root),
        "caches": str(cache_dir(config.paths)),
        "model": [config.model.target, config.model.params, len(prepared.task.classes)],
        "batch": [config.loader.batch_size, config.loader.eval_batch_size],
        "augment": asdict(config.augment),
        "optimiser": asdict(config.optim),
        "engine": [engine.amp, engine.deterministic, config.frontend.clip_median],
    }


def _mean(outcomes: Sequence[FoldOutcome], name: str) -> float | None:
    values = [o.loader[name] for o in outcomes if name in o.loader]
    return float(np.mean(values)) if values else None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
