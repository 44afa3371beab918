"""What making rows costs: a sample of segments is decoded, on one thread and then on all cores."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.kept import Stages
from chirpid.data.rows import RowMaker
from chirpid.errors import ChirpError
from chirpid.loading.tune.clock import Until, queued_s
from chirpid.loading.tune.costs import Costs
from chirpid.seeds import U64, mix64
from chirpid.storage.parallel import for_each
from chirpid.types import IntArray

_PROBE = 11  # stream of random numbers
_CHUNK = 4
_MOST_ROWS, _LEAST_ROWS = 512, 12
_SHARE = 0.03
"""Rows are sampled up to this share of the set: a short training is not to wait for its probe."""
_LEAST_S = 0.03
_FEW_CORES = 2
"""With so few, how much threads hinder each other is lost in the noise of a short look."""
_EXACT = 0.04
"""Chunks are timed until their mean is known this well."""
_OF_THREAD = getattr(resource, "RUSAGE_THREAD", None)  # Linux alone has it


@dataclass(slots=True, kw_only=True)
class RowCosts:
    """What a row takes on average, named as in `Costs`."""

    stage_s: dict[str, float] = field(default_factory=dict)
    read_s: float = 0.0
    reread_s: float = 0.0
    disk_s: float = 0.0
    serial_share: float = 0.0
    spread: float = 0.0

    @property
    def row_core_s(self) -> float:
        return sum(self.stage_s.values())


@dataclass(slots=True)
class RowSample(RowCosts):
    """Rows that were made, and what each took on average, in seconds."""

    ids: IntArray
    """Segments that could be made, in the order they were."""
    rows: Tensor
    """The same as kept, [n, *shape]."""
    num_bad: int = 0
    """Segments that could not be made: the training itself will tell of them."""

    def added_to(self, costs: Costs) -> Costs:
        """Return costs with those of these rows."""
        found: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(RowCosts)}
        return replace(costs, **found, num_rows=len(self.ids))


@dataclass(frozen=True, slots=True)
class _Timed:
    """A chunk of rows."""

    core_s: float
    wait_s: float
    stages: Stages
    num_rows: int


def sample_order(key_N: U64, most: int) -> IntArray:
    """Return the ids of `most` segments at random over the whole set, the same each time."""
    rank = mix64(_PROBE, key_N)
    if most < len(rank):
        nearest = np.argpartition(rank, most)[:most]
        return nearest[np.argsort(rank[nearest], kind="stable")].astype(np.int64)
    return np.argsort(rank, kind="stable").astype(np.int64)


def sample_rows(maker: RowMaker, key_N: U64, *, budget_s: float, num_cores: int) -> RowSample:
    """Return a sample of rows and what they cost.

    About half of the budget goes to one thread, the rest to reading again and to all cores.
    Less is taken where the set is small, or the mean is known.
    Segments that cannot be made are left out.
    """
    most = int(min(_MOST_ROWS, max(_LEAST_ROWS, _SHARE * len(key_N))))
    order = sample_order(key_N, 2 * most)  # the second half only if the disk is slow
    made = _Made(maker)
    made.warm_up(order)
    until = Until(budget_s / 2)
    chunks: list[_Timed] = []
    position = 0
    while position < min(most, len(order)) and not (until.is_over and len(chunks) > 1):
        ids = order[position : position + _CHUNK]
        position += len(ids)
        if (timed := made.take(ids)) is not None:
            chunks.append(timed)
        if len(chunks) >= 8 and _is_known(chunks):
            break
    sample, spent_s = made.sample(chunks), until.elapsed_s
    if not chunks:
        return sample
    part_s = min(budget_s / 6, max(spent_s, _LEAST_S))
    _look_at_waiting(made, sample, part_s)
    if num_cores > 1 and until.elapsed_s < 2 * budget_s:
        _look_at_threads(made, sample, order[position:], part_s, num_cores)
    return sample


class _Made:
    """Makes rows and keeps them."""

    def __init__(self, maker: RowMaker) -> None:
        self.maker = maker
        self._ids: list[int] = []
        self._rows: list[Tensor] = []
        self.num_bad = 0

    def warm_up(self, order: IntArray) -> None:
        """Make the last of the sample, for its kernels and buffers; it counts nowhere."""
        self._try(order[-1:])

    def take(self, ids: IntArray) -> _Timed | None:
        """Make rows one after the other and keep them; None if none could be made."""
        found = self._try(ids)
        if found is None and len(ids) > 1:
            parts = [self.take(ids[k : k + 1]) for k in range(len(ids))]
            good = [part for part in parts if part is not None]
            return _sum(good) if good else None
        if found is None:
            self.num_bad += 1
            return None
        timed, values = found
        kept = torch.empty(values.shape, dtype=self.maker.spec.torch_dtype)
        self.maker.spec.narrow(values, kept)
        self._ids += ids.tolist()
        self._rows.append(kept)
        return timed

    def again(self, ids: IntArray) -> _Timed | None:
        """Make rows that were made before."""
        found = self._try(ids)
        return None if found is None else found[0]

    def sample(self, chunks: Sequence[_Timed]) -> RowSample:
        """Return what was found by now."""
        spec = self.maker.spec
        rows = torch.cat(self._rows) if self._rows else torch.empty((0, *spec.shape))
        stage_s: dict[str, float] = {}
        whole = _sum(chunks) if chunks else _Timed(0.0, 0.0, {}, 0)
        timed_s = sum(whole.stages.values())
        for name, seconds in whole.stages.items():
            stage_s[name] = seconds / timed_s * whole.core_s / whole.num_rows if timed_s else 0.0
        each = np.array([c.core_s / c.num_rows for c in chunks]) if chunks else np.zeros(1)
        return RowSample(
            ids=np.array(self._ids, dtype=np.int64),
            rows=rows,
            stage_s=stage_s,
            read_s=_waited(whole),
            # Rows of a chunk differ by more than their means do.
            spread=float(each.std() / max(each.mean(), 1e-12)) * _CHUNK**0.5,
            num_bad=self.num_bad,
        )

    def _try(self, ids: IntArray) -> tuple[_Timed, Tensor] | None:
        values, stages = torch.empty((len(ids), *self.maker.spec.shape)), Stages()
        # Around the others: a thread may lose its core between two clocks.
        begin_s, before = time.perf_counter(), _clocks()
        try:
            self.maker.make_batch(ids.tolist(), values, stages)
        except (ChirpError, OSError, RuntimeError, ValueError):
            return None
        core_s, others_s, num_waits = (b - a for a, b in zip(before, _clocks(), strict=True))
        wall_s = time.perf_counter() - begin_s
        # While it was ready to go on, or waited for nothing, others had the core: no disk's fault.
        waited = num_waits or _OF_THREAD is None
        wait_s = max(0.0, wall_s - core_s - others_s) if waited else 0.0
        seconds = {name: s for name, s in stages.items() if not name.startswith("num_")}
        if "decode" in seconds:  # the stage that reads
            seconds["decode"] = max(0.0, seconds["decode"] - wait_s)
        return _Timed(core_s, wait_s, seconds, len(ids)), values


def _look_at_waiting(made: _Made, sample: RowSample, budget_s: float) -> None:
    """Find out whether rows that were read before are waited for again."""
    if sample.read_s == 0.0:
        return
    until = Until(budget_s)
    again: list[_Timed] = []
    for k in range(0, len(sample.ids), _CHUNK):
        if again and until.is_over:
            break
        if (timed := made.again(sample.ids[k : k + _CHUNK])) is not None:
            again.append(timed)
    if again:
        sample.reread_s = min(sample.read_s, _waited(_sum(again)))


def _look_at_threads(
    made: _Made, sample: RowSample, fresh: IntArray, budget_s: float, num_cores: int
) -> None:
    """Find out how much sooner all cores make rows, and what the disk gives all of them at once."""
    num_threads = min(num_cores, 16)
    alone_s = sample.row_core_s + sample.reread_s
    if num_threads > _FEW_CORES and sample.reread_s < sample.row_core_s:
        row_s = _row_seconds_on(made.maker, sample.ids, num_threads, budget_s)
        # Amdahl (1967), turned round: 1 / speedup = serial + (1 - serial) / threads.
        slower = ((row_s or 0.0) / max(alone_s, 1e-12) * num_threads - 1) / (num_threads - 1)
        sample.serial_share = min(1.0, max(0.0, slower))
    if sample.read_s > 0 and len(fresh) >= 2 * num_threads:
        row_s = _row_seconds_on(made.maker, fresh, num_threads, budget_s, once=True)
        expected_s = (sample.row_core_s + sample.read_s) / num_threads
        if row_s is not None and row_s > 1.2 * expected_s:
            sample.disk_s = row_s


def _row_seconds_on(
    maker: RowMaker, ids: IntArray, num_threads: int, budget_s: float, *, once: bool = False
) -> float | None:
    """Return the seconds a row that threads need together, or None if rows could not be made."""
    size = max(1, min(_CHUNK, len(ids) // num_threads))
    chunks = [ids[k : k + size] for k in range(0, len(ids) - size + 1, size)]
    if not once:
        chunks *= max(1, -(-_MOST_ROWS // max(1, len(chunks))))
    done: list[int] = []
    queued: list[float] = []
    out = torch.empty((num_threads, size, *maker.spec.shape))
    free = list(range(num_threads))
    until = Until(budget_s)

    def work(chunk: IntArray) -> None:
        if until.is_over and done:
            return
        slot, before_s = free.pop(), queued_s()
        try:
            maker.make_batch(chunk.tolist(), out[slot][: len(chunk)], Stages())
            done.append(len(chunk))
            queued.append(queued_s() - before_s)
        finally:
            free.append(slot)

    begin = time.perf_counter()
    try:
        for_each(work, chunks, num_threads=num_threads)
    except (ChirpError, OSError, RuntimeError, ValueError):
        return None
    # What other programs took of the cores is neither Python's lock nor the disk.
    took_s = time.perf_counter() - begin - sum(queued) / num_threads
    return max(0.0, took_s) / max(1, sum(done))


def _sum(chunks: Sequence[_Timed]) -> _Timed:
    stages: Stages = {}
    for chunk in chunks:
        for name, seconds in chunk.stages.items():
            stages[name] = stages.get(name, 0.0) + seconds
    return _Timed(
        sum(c.core_s for c in chunks),
        sum(c.wait_s for c in chunks),
        stages,
        sum(c.num_rows for c in chunks),
    )


def _waited(whole: _Timed) -> float:
    """Return the seconds a row that were waited; a few in a hundred are no disk."""
    if whole.wait_s < 0.05 * (whole.core_s + whole.wait_s):
        return 0.0
    return whole.wait_s / max(1, whole.num_rows)


def _is_known(chunks: Sequence[_Timed]) -> bool:
    """Return whether the mean is known well enough."""
    each = np.array([(c.core_s + c.wait_s) / c.num_rows for c in chunks])
    return bool(each.std(ddof=1) / len(each) ** 0.5 < _EXACT * each.mean())


def _clocks() -> tuple[float, float, int]:
    """Return the seconds that this thread had a core, those that it was ready and had none, and
    how often it gave one up to wait."""
    waits = 0 if _OF_THREAD is None else resource.getrusage(_OF_THREAD).ru_nvcsw
    return time.thread_time(), queued_s(), waits
