"""loader=auto: from settings to a probe, from its pick to the plan, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from chirpid import build, native
from chirpid.bench.facts import machine as machine_facts
from chirpid.cli.auto_work import limits_of, work_of
from chirpid.cli.tuned import Tuned, binds
from chirpid.config.paths import cache_dir
from chirpid.config.schema import DatasetKind
from chirpid.data.modes import content_key, store_key, whole_cache
from chirpid.engine.precision import deterministic, threads
from chirpid.engine.rehearsal import Rehearsal, same_draws
from chirpid.errors import ChirpError
from chirpid.loading.monitor.usage import CoreWatch
from chirpid.loading.plan import Picks
from chirpid.loading.room import left_clean
from chirpid.loading.tune import is_off
from chirpid.loading.tune.choose import refused_modes
from chirpid.loading.tune.memory import forget, probe_key, recall, remember
from chirpid.loading.tune.probe import Subject
from chirpid.loading.tune.probe import tune as tune_subject
from chirpid.types import Mode

if TYPE_CHECKING:
    from chirpid.cli.course import Course
    from chirpid.cli.prepare import Prepared
    from chirpid.engine.rule import FoldOutcome


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
            left_clean(),  # of the throw-away model: where memory is short, files need the room
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
    prepared: Prepared,
    outcomes: Sequence[FoldOutcome],
    *,
    seconds: float,
    whole: bool,
    course: Course | None = None,
) -> dict[str, Any]:
    """Return {"loader": ...} for results.json, or nothing without loader=auto.

    A prediction that turned out wrong is forgotten: the next run probes again.
    """
    tuned = prepared.tuned
    if tuned is None:
        return {}
    told = tuned.results(outcomes, seconds=seconds, whole=whole, course=course)
    achieved = told["achieved"]["samples_per_s"]
    if achieved is not None and whole and is_off(tuned.pick.prediction.samples_per_s, achieved):
        forget(tuned.folder, tuned.key)
    return {"loader": told}


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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
