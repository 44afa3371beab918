"""A small model of a training's time: what it costs under a setting, and what binds it.

No batch comes sooner than the slowest in the chain makes it (the model, or the workers that fetch),
nor than all cores together do all the work there is: (core-seconds of the model + core-seconds of
loading) / cores. On a CPU that bound is not reached where a step's own threads share their cores
with workers: a step waits for its slowest thread. How far it is missed is measured (`Measured`);
until it is, `CROWDING` stands for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from chirpid.loading.stages import bound_of
from chirpid.loading.tune.costs import Costs
from chirpid.types import Backend, Mode

CROWDING = 1.3
"""How much longer than the work-conserving bound it takes when step and workers share cores."""
_OFF = 0.25
STATS_ROW_S = 1e-4
"""Seconds a sample of the statistics that a fold's spectrograms are normalised with."""
STRETCH = 2.0
"""How many times longer a step then takes than by its share of the cores: it waits for the slowest
of its threads, again and again."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way of fetching."""

    mode: Mode
    backend: Backend
    num_workers: int = 0
    prefetch: int = 1

    @property
    def keeps(self) -> bool:
        """Whether rows are made once and kept."""
        return self.mode is not Mode.lazy

    @property
    def text(self) -> str:
        """What it is called in a line: "mode=lazy, 2 threads, prefetch 4"."""
        if not self.num_workers:
            return f"mode={self.mode.value}, {self.backend.value}"
        workers = f"{self.num_workers} {self.backend.value}"
        return f"mode={self.mode.value}, {workers}, prefetch {self.prefetch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done."""

    num_samples: int
    """Samples of the set: a store keeps them all."""
    train_samples: int
    """Samples of a training epoch of a fold."""
    eval_samples: int = 0
    """Samples that are validated after it."""
    stats_samples: int = 0
    """Samples that statistics are taken from, once for all folds."""
    batch_size: int = 32
    epochs: int = 1
    folds: int = 1
    num_cores: int = 1
    store_bytes: int = 0
    """Bytes of all rows as kept."""
    batch_bytes: int = 0
    """Bytes of a float32 batch."""
    eval_batch_bytes: int = 0
    """The same in validation: there is room for the larger of the two."""
    window_bytes: int = 0
    """RAM that the window of mode=streaming takes."""
    cached_already: bool = False
    """The store of mode=cached is whole: nothing is built, and eager reads its rows."""
    recordings_stay: bool = True
    """Recordings that were read once stay in RAM."""
    store_stays: bool = True
    """The pages of a store stay in RAM."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a short training under a setting came to."""

    batch_s: float
    """Seconds a batch, loading and step."""
    wait_share: float
    num_batches: int = 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a setting would come to."""

    samples_per_s: float
    """Of a training epoch."""
    wait_share: float
    """Share of it in which the model waits for batches."""
    epoch_s: float
    """Seconds of a training epoch."""
    build_s: float
    """Seconds until all rows are kept, before the first batch."""
    total_s: float
    """Seconds of the whole run: build, statistics, training and validation of all folds."""
    bound: str
    """What no other part is slower than: model, decode, resample, front end, copy, disk, cores,
    lock (of Python)."""
    tried: bool = False
    """Whether a short training was measured, or this is the model alone."""


def predict(
    costs: Costs,
    setting: Setting,
    work: Work,
    measured: Measured | None = None,
    *,
    slowdown: float = 1.0,
) -> Prediction:
    """Return what a setting would come to.

    Args:
        measured: replaces the model's own batch where the setting was tried.
        slowdown: of settings like this one when they were tried, against the model.
    """
    train_s, wait, bound = _batch(costs, setting, work, costs.step_s)
    eval_s = _batch(costs, setting, work, costs.eval_s)[0]
    if measured is not None:
        slowdown, wait = measured.batch_s / max(train_s, 1e-12), measured.wait_share
    # What the model misses in training, it misses in validation.
    train_s, eval_s = train_s * slowdown, eval_s * slowdown
    first_s = _first_batch_s(costs, setting, work)
    epoch_s = first_s + math.ceil(work.train_samples / work.batch_size) * train_s
    check_s = first_s + math.ceil(work.eval_samples / work.batch_size) * eval_s
    stats_s = work.stats_samples * (_fetch_s(costs, setting, work) + STATS_ROW_S)
    build_s = build_seconds(costs, setting, work)
    folds_s = work.folds * (work.epochs * epoch_s + (work.epochs + 1) * check_s)
    start_s = costs.start_s.get(setting.backend.value, 0.0)
    return Prediction(
        samples_per_s=work.train_samples / max(epoch_s, 1e-12),
        wait_share=(wait * (epoch_s - first_s) + first_s) / max(epoch_s, 1e-12),
        epoch_s=epoch_s,
        build_s=build_s,
        total_s=build_s + start_s + stats_s + folds_s + _cold_s(costs, setting, work),
        bound=bound,
        tried=measured is not None,
    )


def is_off(predicted: float, achieved: float) -> bool:
    """Return whether a prediction is further from what came than those of one machine are."""
    return abs(achieved / max(predicted, 1e-12) - 1) > _OFF


def batch_seconds(costs: Costs, setting: Setting, work: Work) -> float:
    """Return the seconds of a training step with its batch, by the model alone."""
    return _batch(costs, setting, work, costs.step_s)[0]


def build_seconds(costs: Costs, setting: Setting, work: Work) -> float:
    """Return the seconds until all rows are kept: on all cores, with all that disks take."""
    if not setting.keeps:
        return 0.0
    if work.cached_already:
        read_s = work.num_samples * (costs.store_read_s or costs.gather_s)
        return read_s if setting.mode is Mode.eager else 0.0
    made_s = work.num_samples * row_seconds(costs, work.num_cores, costs.read_s)
    if setting.mode is Mode.eager:
        return made_s
    # A thread writes what it made, and the others go on meanwhile; the disk is one for all.
    written_s = work.num_samples * costs.write_s
    return max(made_s + written_s / work.num_cores, written_s)


def row_seconds(
    costs: Costs,
    num_workers: int,
    read_s: float,
    *,
    num_cores: int | None = None,
    lock: bool = True,
) -> float:
    """Return the seconds a sample of making rows with so many workers and nothing else at work.

    Threads are sped up by Amdahl's law (1967), with the share that needs Python's lock in turn.
    """
    core_s = costs.row_core_s
    at_once = max(1, num_workers)
    cores = min(at_once, num_cores or at_once)
    serial = costs.serial_share if lock else 0.0
    worked_s = core_s * (serial + (1 - serial) / cores)
    floor_s = costs.disk_s if read_s > 0 else 0.0
    return max((core_s + read_s) / at_once, worked_s, floor_s)


def _fetch_s(costs: Costs, setting: Setting, work: Work) -> float:
    """Return the seconds a sample of fetching alone."""
    if setting.keeps:
        return _kept_s(costs, setting, work)
    lock = setting.backend is not Backend.processes
    read_s = _steady_read_s(costs, work)
    return row_seconds(costs, setting.num_workers, read_s, num_cores=work.num_cores, lock=lock)


def _kept_s(costs: Costs, setting: Setting, work: Work) -> float:
    read_s = 0.0
    if setting.mode is not Mode.eager and not work.store_stays:
        read_s = costs.store_read_s
    if not setting.num_workers:
        return costs.gather_s + read_s
    # The disk brings rows while others are copied, and is one for all workers.
    return max((costs.gather_s + read_s) / min(setting.num_workers, work.num_cores), read_s)


def _steady_read_s(costs: Costs, work: Work) -> float:
    return costs.reread_s if work.recordings_stay else costs.read_s


def _cold_s(costs: Costs, setting: Setting, work: Work) -> float:
    """Return what the first pass of mode=lazy takes longer, while recordings come from the disk."""
    if setting.mode is not Mode.lazy or not work.recordings_stay:
        return 0.0
    lock = setting.backend is not Backend.processes
    first, later = (
        row_seconds(costs, setting.num_workers, s, num_cores=work.num_cores, lock=lock)
        for s in (costs.read_s, costs.reread_s)
    )
    # The model's own time hides reading where it is the longer of the two.
    step_s = costs.step_s / max(1, work.batch_size) if setting.num_workers else 0.0
    return work.num_samples * max(0.0, max(first, step_s) - max(later, step_s))


def _first_batch_s(costs: Costs, setting: Setting, work: Work) -> float:
    """Return the wait for the first batch: workers make one together before the model has any."""
    if setting.backend in (Backend.inline, Backend.device):
        return 0.0  # it waits for each
    return work.batch_size * _fetch_s(costs, setting, work) + costs.hand_over(setting.backend.value)


def _batch(costs: Costs, setting: Setting, work: Work, step_s: float) -> tuple[float, float, str]:
    """Return the seconds a batch of the model's `step_s`, the share waited, and what binds."""
    size = work.batch_size
    fetch_s = size * _fetch_s(costs, setting, work)
    if setting.backend is Backend.device:
        return step_s - min(costs.transfer_s, step_s / 2), 0.0, "model"
    if setting.backend is Backend.inline:
        whole_s = max(step_s, step_s - min(costs.free_s, step_s) + fetch_s)
        return (
            whole_s,
            fetch_s / max(whole_s, 1e-12),
            _larger(costs, setting, work, step_s, fetch_s),
        )
    hand_s = costs.hand_over(setting.backend.value)
    jitter_s = _jitter_s(costs, setting, fetch_s, step_s)
    load_core_s = size * (costs.gather_s if setting.keeps else costs.row_core_s)
    cores_s = (load_core_s + step_s * costs.step_cores) / work.num_cores
    busy = costs.step_cores + load_core_s / max(step_s, fetch_s, 1e-12)
    if busy > work.num_cores:
        cores_s *= CROWDING
    chain_s = max(step_s, fetch_s) + jitter_s
    whole_s = max(chain_s, cores_s) + hand_s
    waited_s = hand_s + jitter_s + max(0.0, fetch_s - step_s)
    if busy > work.num_cores:
        # A step that shares its cores takes longer, and workers get ahead of it meanwhile.
        shared = (costs.step_cores + setting.num_workers) / work.num_cores
        waited_s = max(hand_s + jitter_s, whole_s - STRETCH * shared * step_s)
    chain = _larger(costs, setting, work, step_s, fetch_s)
    bound = "cores" if cores_s > chain_s else chain
    return whole_s, min(1.0, waited_s / max(whole_s, 1e-12)), bound


def _jitter_s(costs: Costs, setting: Setting, fetch_s: float, step_s: float) -> float:
    """Return what is waited because batches differ in cost: less, the more are made ahead.

    As in a queue with one server and a load near 1 (Kingman 1961), and over the depth of the ring.
    """
    longer = max(fetch_s, step_s, 1e-12)
    load = min(fetch_s, step_s) / longer
    depth = max(1, setting.num_workers * setting.prefetch)
    return 0.5 * costs.spread**2 * load * fetch_s / depth


def _larger(costs: Costs, setting: Setting, work: Work, step_s: float, fetch_s: float) -> str:
    if step_s >= fetch_s:
        return "model"
    if setting.keeps:
        is_disk = setting.mode is not Mode.eager and not work.store_stays
        return "disk" if is_disk and costs.store_read_s > costs.gather_s else "copy"
    parts = dict(costs.stage_s) | {"read": _steady_read_s(costs, work)}
    at_once = min(max(1, setting.num_workers), work.num_cores)
    if setting.backend is Backend.threads and costs.serial_share * at_once > 1:
        return "lock"
    return bound_of(max(parts, key=lambda name: parts[name]))
