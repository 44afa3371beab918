"""What `chirpid profile` measures: the probe, then the planned loader alone and with the step."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from chirpid import build
from chirpid.cli import auto
from chirpid.cli.advising import advice_of, setting_of, ways_of
from chirpid.cli.auto_work import work_of
from chirpid.cli.prepare import Prepared, prepare, prepare_loader
from chirpid.cli.tuned import Tuned
from chirpid.config.paths import cache_dir
from chirpid.config.resolve import Resolved
from chirpid.config.schema import DatasetKind
from chirpid.data.datasets import LazyDataset
from chirpid.data.modes import store_key, whole_cache
from chirpid.engine.precision import deterministic, threads
from chirpid.engine.rehearsal import Rehearsal, same_draws
from chirpid.errors import TrainingError
from chirpid.loading import waterfall
from chirpid.loading.achieved import Achieved, bound_share
from chirpid.loading.advice import Advice
from chirpid.loading.changes import shape_of
from chirpid.loading.factory import Loader, make_loader
from chirpid.loading.tune import Candidate, Measured, Setting, Work
from chirpid.loading.tune.choose import rank, trial_key
from chirpid.loading.tune.memory import remember
from chirpid.loading.tune.probe import Outcome, Subject, tune
from chirpid.loading.tune.rows import sample_rows
from chirpid.loading.tune.steps import repeated
from chirpid.loading.waterfall import Bar, Watched
from chirpid.storage.atomic import write_text
from chirpid.types import Batch, IntArray, Mode

VERSION = 1
_PROBE, _ALONE, _STEP, _BOTH = 0.4, 0.2, 0.15, 0.25  # of the time
_MOST_BATCHES, _MOST_EPOCHS = 5000, 20
_ROWS_S = 0.3


@dataclass(slots=True)
class Profile:
    """What was measured."""

    setting: Setting
    work: Work
    outcome: Outcome
    alone: Watched
    both: Watched
    bars: list[Bar]
    advice: Advice
    bound_share: float

    @property
    def rates(self) -> dict[str, float]:
        """Samples a second."""
        costs = self.outcome.found.costs
        return {
            "loader alone": self.alone.samples_per_s,
            "model alone": self.work.batch_size / max(costs.step_s, 1e-12),
            "both": self.both.samples_per_s,
            "at most": self.both.samples_per_s / max(self.bound_share, 1e-12),
        }

    def as_json(self) -> dict[str, Any]:
        """Return all figures."""
        setting = {name: getattr(v, "value", v) for name, v in asdict(self.setting).items()}
        return {
            "version": VERSION,
            "setting": setting,
            "batch_size": self.work.batch_size,
            "stages": waterfall.as_json(self.bars),
            "fetch_ms_per_sample": 1e3 * self.alone.fetch_s,
            "wait_share": self.both.achieved.wait_share,
            "samples_per_s": {k.replace(" ", "_"): v for k, v in self.rates.items()},
            "costs": self.outcome.found.costs.as_json(),
            "advice": self.advice.as_json(),
        }


def profile(resolved: Resolved, *, seconds: float, path: Path | None) -> None:
    """Measure and print.

    Raises:
        ChirpError: settings, recordings or budgets that do not allow a training.
    """
    console = Console(highlight=False, soft_wrap=True, markup=False)
    prepared = prepare(resolved.config, console, resolved.given)
    prepared.check_fit()
    prepared.print_plan(console, full=False)
    config = resolved.config
    with (
        same_draws(),
        deterministic(config.engine.deterministic),
        threads(config.engine.num_threads),
    ):
        found = measure(prepared, console, seconds=seconds)
    _print(found, prepared, console)
    if path is not None:
        text = json.dumps(found.as_json(), indent=1) + "\n"
        write_text(path, text, instead="Give --json a file in a folder of yours.")
        console.print(f"written: {path}")


def measure(prepared: Prepared, console: Console, *, seconds: float) -> Profile:
    """Return what the planned setting comes to, and what others would."""
    setting, options = setting_of(prepared), build.store_options(
        prepared.config, prepared.machine, prepared.plan
    )  # fmt: skip
    key = store_key(prepared.maker, build.frontend_settings(prepared.config))
    store = whole_cache(prepared.maker, key, options)
    work = work_of(prepared, cached_already=store is not None)
    learner = _rehearsal(prepared)
    subject = Subject(
        maker=prepared.maker,
        key_N=prepared.task.key_N,
        work=work,
        limits=ways_of(prepared, setting, work).limits,
        device=prepared.device,
        cache_root=cache_dir(prepared.config.paths),
        makes_rows=prepared.config.dataset.kind is not DatasetKind.shards,
        store=store,
    )
    outcome = tune(subject, lambda: learner, probe_s=_PROBE * seconds)
    batches, warm = _batches(prepared), waterfall.warm_batches(setting)
    with _loader(prepared, console, is_stored=store is not None) as (loader, num_rows):
        setting = _as_made(setting, loader)
        ids = [one % num_rows for one in batches]
        alone = waterfall.watch(loader.run, ids, seconds=_ALONE * seconds, warm=warm)
        both = waterfall.watch(loader.run, ids, seconds=_BOTH * seconds, warm=warm,
                               step=learner.train, wait=learner.wait)  # fmt: skip
        step = waterfall.watch(_again(loader, ids), ids, seconds=_STEP * seconds, warm=1,
                               step=learner.train, wait=learner.wait)  # fmt: skip
    if alone is None or both is None or step is None:
        raise TrainingError("The folds have too few batches to measure.")
    _correct(outcome, step, subject)
    remember(*auto.where_kept(prepared), outcome.found, {"dataset": prepared.manifest.name})
    achieved = waterfall.with_batch(both, work.batch_size)
    advice, _ = advice_of(prepared, achieved, work, found=outcome.found, made=setting)
    outcome.pick = _decide_anew(outcome, setting, achieved, work)
    costs = outcome.found.costs
    shown = waterfall.bars(alone, costs, setting, batch_size=work.batch_size,
                           on_gpu=prepared.device.type == "cuda")  # fmt: skip
    return Profile(setting, work, outcome, alone, both, shown, advice,
                   bound_share(costs, achieved, work))  # fmt: skip


def _as_made(setting: Setting, loader: Loader) -> Setting:
    """Return the setting that is measured: workers that cannot start are replaced by others."""
    assert loader.plan is not None
    shape = shape_of(loader.plan)
    return Setting(setting.mode, shape.backend, shape.num_workers, shape.prefetch)


def _again(loader: Loader, ids: Sequence[IntArray]) -> waterfall.Run:
    """Return what gives one batch again and again, as long as more are asked for."""
    first = next(iter(loader.run(ids[:1])))
    inputs = first.inputs.clone()
    return lambda batches: (Batch(first.ids, inputs) for _ in batches)


def _correct(outcome: Outcome, step: Watched, subject: Subject) -> None:
    """Put the step in the probe's costs that was measured for longer."""
    found, work = outcome.found, subject.work
    costs = found.costs
    step_s = work.batch_size / step.samples_per_s
    ratio = step_s / max(costs.step_s, 1e-12)
    found.costs = replace(
        costs,
        step_s=step_s,
        step_core_s=step.achieved.cpu_cores * step_s,
        eval_s=costs.eval_s * ratio,
        augment_s=min(costs.augment_s, costs.augment_s * ratio),
    )


def _decide_anew(outcome: Outcome, setting: Setting, achieved: Achieved, work: Work) -> Candidate:
    """Rank all settings by what is known now; return the planned one, with what was measured."""
    found, others = outcome.found, [one.setting for one in outcome.ranked if one.setting != setting]
    tried = found.trials | {trial_key(setting): Measured(achieved.batch_s, achieved.wait_share)}
    outcome.ranked = rank(found.costs, [*others, setting], work, tried)
    return next(one for one in outcome.ranked if one.setting == setting)


@contextlib.contextmanager
def _loader(
    prepared: Prepared, console: Console, *, is_stored: bool
) -> Iterator[tuple[Loader, int]]:
    """Give the planned loader and how many rows it has; nothing is built for it."""
    config, mode, num_rows = prepared.config, prepared.config.mode.name, len(prepared.segments)
    is_there = is_stored and mode is Mode.cached
    if is_there or (mode is Mode.streaming and prepared.shards is not None):
        with contextlib.closing(prepare_loader(prepared, console)) as loader:
            yield loader, num_rows
        return
    dataset: Any = LazyDataset(prepared.maker)
    if mode is not Mode.lazy:
        rows = torch.empty((0, *prepared.maker.spec.shape))
        if config.dataset.kind is not DatasetKind.shards:
            made = sample_rows(prepared.maker, prepared.task.key_N, budget_s=_ROWS_S, num_cores=1)
            rows = made.rows
        ram_bytes = build.ram_budget(config, prepared.machine)
        dataset = repeated(prepared.maker.spec, rows, num_rows, ram_bytes)
        num_rows = dataset.num_segments
        console.print(f"mode={mode.value}: nothing is built; a few rows in RAM stand for all")
    loader = make_loader(dataset, prepared.plan, device=prepared.device,
                         timeout_s=config.loader.timeout_s, say=console.print)  # fmt: skip
    with contextlib.closing(loader):
        yield loader, num_rows


def _batches(prepared: Prepared) -> list[IntArray]:
    """Return the batches of the first epochs of a fold, again and again."""
    fold = prepared.config.cv.folds[0] if prepared.config.cv.folds else 0
    train_ids, found = prepared.folds.train_ids(fold), []
    for epoch in range(_MOST_EPOCHS):
        found += prepared.rule.train_epoch(train_ids, prepared.task.key_N, epoch).batches
        if len(found) >= _MOST_BATCHES // 10:
            break
    return found * max(1, _MOST_BATCHES // max(1, len(found)))


def _rehearsal(prepared: Prepared) -> Rehearsal:
    make = build.model_maker(prepared.config, prepared.task.classes)
    return Rehearsal(prepared.task, prepared.rule, make, prepared.device)


def _print(found: Profile, prepared: Prepared, console: Console) -> None:
    console.print("\nmilliseconds a sample, stage by stage")
    _print_lines(waterfall.lines(found.bars), console)
    console.print("\nsamples a second")
    rates = found.rates
    _print_lines([f"{name:<12}  {rate:9.1f}" for name, rate in rates.items()], console)
    console.print(
        f"both come to {100 * found.bound_share:.0f} % of what the step alone, or all work on all "
        f"{found.work.num_cores} cores, allows; the model waited "
        f"{100 * found.both.achieved.wait_share:.1f} %\n"
    )
    outcome, where = found.outcome, auto.where_kept(prepared)
    assert outcome.pick is not None
    Tuned(outcome, outcome.pick, found.work, *where).print_table(console)
    console.print(f"\nadvice: {found.advice.sentence}")


def _print_lines(text: Sequence[str], console: Console) -> None:
    for one in text:
        console.print(one.rstrip())
