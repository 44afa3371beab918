"""The probe of loader=auto: measures what work costs here, tries what is best, and picks."""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from chirpid.data.datasets import LazyDataset, TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.data.rows import RowMaker
from chirpid.loading.tune.choose import (
    Candidate,
    Limits,
    candidates,
    choose,
    rank,
    trial_key,
    worth_trying,
)
from chirpid.loading.tune.costs import (
    PROCESSES_START_S,
    SHARED_BYTES_PER_S,
    THREAD_HAND_OVER_S,
    Costs,
)
from chirpid.loading.tune.memory import Found
from chirpid.loading.tune.model import Measured, Setting, Work
from chirpid.loading.tune.rows import RowSample, sample_rows
from chirpid.loading.tune.steps import Learner, repeated, step_costs
from chirpid.loading.tune.trials import LEAST_BATCHES, run_trial, try_settings
from chirpid.seeds import U64
from chirpid.storage.layout import RowLayout
from chirpid.types import Backend, IntArray, Mode

_SHARE = 0.04
"""Trials take at most this share of the time that the training is predicted to take."""
_STEPS_SHARE = 0.02
"""So do steps, by their number."""
_PIECE_BYTES = 2**22
_ROWS_PART, _STEPS_PART, _TRIALS_PART = 0.3, 0.25, 0.45  # of the budget
_POINTLESS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is probed."""

    maker: RowMaker
    key_N: U64
    work: Work
    limits: Limits
    device: torch.device
    cache_root: Path
    makes_rows: bool = True
    """False where rows come from shards: nothing is decoded."""
    store: tuple[Path, RowLayout] | None = None
    """The store of mode=cached, where it is whole."""

    @property
    def spec(self) -> RowSpec:
        return self.maker.spec

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def num_steps(self) -> int:
        """Training steps of the whole run."""
        work = self.work
        return work.folds * work.epochs * -(-work.train_samples // work.batch_size)


@dataclass(slots=True)
class Outcome:
    """What a probe came to."""

    found: Found
    ranked: list[Candidate]
    """All settings that are possible, the fastest first; none if nothing fits the budgets."""
    pick: Candidate | None
    pin_memory: bool | None
    """None where there is nothing to choose."""
    probe_s: float
    """Seconds that it took."""
    num_new_trials: int
    remembered: bool
    """Nothing was measured: all of it was known."""


def tune(
    subject: Subject,
    make_learner: Callable[[], Learner],
    *,
    probe_s: float,
    found: Found | None = None,
) -> Outcome:
    """Return the best setting for a training, and what every other would come to.

    Args:
        make_learner: makes a throw-away model; called only if something is to be measured.
        probe_s: what measuring may take. A run that is over sooner is probed for less.
        found: what an earlier probe found of the same machine, set and settings.
    """
    return _Probe(subject, make_learner, probe_s, found).run()


@dataclass(slots=True)
class _Probe:
    subject: Subject
    make_learner: Callable[[], Learner]
    probe_s: float
    found: Found | None
    _learner: Learner | None = None
    _sample: RowSample | None = None
    _kept: TensorDataset | None = None

    def run(self) -> Outcome:
        begin = time.perf_counter()
        found = self.found or Found(self._costs())
        subject = self.subject
        work = _with_what_stays(subject.work, found.costs)
        limits = subject.limits
        if subject.on_gpu:
            room = max(0, limits.device_bytes - found.costs.step_bytes)
            limits = replace(limits, device_bytes=room)
        settings = candidates(work, limits)
        known = len(found.trials)
        ranked = rank(found.costs, settings, work, found.trials)
        budget_s = self._trials_budget_s(ranked, found, work)
        if budget_s > 0:
            to_try = [setting for setting in settings if self._can_try(setting)]
            found.trials = try_settings(
                found.costs, to_try, work, found.trials, self._run_trial, budget_s
            )
            ranked = rank(found.costs, settings, work, found.trials)
        pick = choose(ranked, work) if ranked else None
        return Outcome(
            found=found,
            ranked=ranked,
            pick=pick,
            pin_memory=found.costs.pinned_gain > 0.02 if subject.on_gpu else None,
            probe_s=time.perf_counter() - begin,
            num_new_trials=len(found.trials) - known,
            remembered=self.found is not None and budget_s <= 0,
        )

    def _costs(self) -> Costs:
        """Measure everything but the trials."""
        subject, work = self.subject, self.subject.work
        sample = self._rows()
        step = step_costs(
            self._rows_kept(),
            self._model(),
            batch_size=work.batch_size,
            budget_s=_STEPS_PART * self.probe_s,
            most_steps=_STEPS_SHARE * subject.num_steps,
            on_gpu=subject.on_gpu,
        )
        # Also where nothing is to be written now: what is remembered answers for other modes, too.
        write_s = write_seconds(subject.cache_root, subject.spec.row_bytes)
        handed_s = THREAD_HAND_OVER_S
        return replace(
            sample.added_to(step),
            store_read_s=write_s if subject.store is None else store_read_seconds(*subject.store),
            write_s=write_s,
            hand_over_s={
                Backend.threads.value: handed_s,
                Backend.processes.value: handed_s + work.batch_bytes / SHARED_BYTES_PER_S,
            },
            start_s={Backend.processes.value: PROCESSES_START_S},
        )

    def _trials_budget_s(self, ranked: list[Candidate], found: Found, work: Work) -> float:
        """Return what trials may take: nothing where they are made, or tell nothing."""
        wanted = worth_trying([one for one in ranked if self._can_try(one.setting)], work, 3)
        if all(trial_key(one) in found.trials for one in wanted) or len(wanted) < 2:
            return 0.0
        best = ranked[0].prediction
        simplest = choose(ranked, work)
        model_s = found.costs.step_s / work.batch_size
        if simplest.prediction.samples_per_s * model_s > 1 - _POINTLESS:
            return 0.0  # no other loader can be faster than the model
        budget_s = min(_TRIALS_PART * self.probe_s, _SHARE * best.total_s)
        batch_s = work.batch_size / best.samples_per_s
        return budget_s if budget_s >= LEAST_BATCHES * 2 * batch_s else 0.0

    def _can_try(self, setting: Setting) -> bool:
        """Return whether a trial would tell: what was read once looks quicker than what comes."""
        return setting.mode is not Mode.lazy or self.subject.work.recordings_stay

    def _run_trial(self, setting: Setting, seconds: float) -> Measured | None:
        subject = self.subject
        dataset: LazyDataset | TensorDataset
        if setting.mode is Mode.lazy:
            ids: IntArray = self._rows().ids
            if not len(ids):
                return None
            dataset = LazyDataset(subject.maker)
        else:
            dataset = self._rows_kept()
            ids = torch.arange(dataset.num_segments).numpy()
        return run_trial(
            dataset,
            setting,
            ids,
            self._model(),
            batch_size=subject.work.batch_size,
            seconds=seconds,
            device=subject.device,
            pin_memory=subject.on_gpu,
        )

    def _rows(self) -> RowSample:
        if self._sample is None:
            subject = self.subject
            if subject.makes_rows:
                # What is known is not measured again: a few rows are enough for a trial.
                budget_s = _ROWS_PART * self.probe_s * (1.0 if self.found is None else 0.2)
                self._sample = sample_rows(
                    subject.maker,
                    subject.key_N,
                    budget_s=budget_s,
                    num_cores=subject.work.num_cores if self.found is None else 1,
                )
            else:
                empty: Tensor = torch.empty((0, *subject.spec.shape))
                self._sample = RowSample(torch.empty(0, dtype=torch.int64).numpy(), empty)
        return self._sample

    def _rows_kept(self) -> TensorDataset:
        if self._kept is None:
            limits, work = self.subject.limits, self.subject.work
            rows = self._rows().rows
            self._kept = repeated(self.subject.spec, rows, work.num_samples, limits.ram_bytes)
        return self._kept

    def _model(self) -> Learner:
        if self._learner is None:
            self._learner = self.make_learner()
        return self._learner


def _with_what_stays(work: Work, costs: Costs) -> Work:
    """Return the work; recordings that had to be waited for twice do not stay in RAM."""
    if costs.read_s > 0 and costs.reread_s > 0.5 * costs.read_s:
        return replace(work, recordings_stay=False)
    return work


def write_seconds(folder: Path, row_bytes: int) -> float:
    """Return the seconds a row of writing rows to a disk for good; 0 if they cannot be."""
    num_rows = max(1, min(64, _PIECE_BYTES // max(1, row_bytes)))
    data = torch.arange(num_rows * row_bytes // 8 + 1).numpy().tobytes()[: num_rows * row_bytes]
    path = folder / f".probe-{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(path, "xb", buffering=0) as file:
            begin = time.perf_counter()
            file.write(data)
            getattr(os, "fdatasync", os.fsync)(file.fileno())
            return (time.perf_counter() - begin) / num_rows
    except OSError:
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def store_read_seconds(folder: Path, layout: RowLayout) -> float:
    """Return the seconds a row of reading a store and its checksums; 0 if it cannot be read."""
    num_bytes, begin = min(_PIECE_BYTES, layout.num_bytes), time.perf_counter()
    try:
        with open(folder / "rows.bin", "rb") as file:
            zlib.crc32(os.pread(file.fileno(), num_bytes, layout.num_bytes - num_bytes))
    except OSError:
        return 0.0
    return (time.perf_counter() - begin) / max(1, num_bytes // max(1, layout.row_bytes))
