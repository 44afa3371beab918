"""What every case must deliver: each row as often as agreed, with its values.

A loader that drops a row, repeats one or changes one is fast for the wrong reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chirpid.errors import BenchmarkError
from chirpid.types import Batch, FloatArray, IntArray

_NUM_PROBES = 6
_EXACT = 1e-9
"""Means of equal rows differ by this much at most, in whatever order they are summed."""

Probes = npt.NDArray[np.float32]


class Truth:
    """Knows all rows by a few of their values and by their mean.

    Args:
        rows_of: gives rows first..end-1 as float32 [n, *shape].
        times: how often a pass delivers each row; one number for all, or int64 [N].
        tolerance: how far a value may be off. Above 0, batches must tell their ids.
    """

    def __init__(
        self,
        rows_of: Callable[[int, int], Tensor],
        num_rows: int,
        *,
        times: int | IntArray = 1,
        tolerance: float = 0.0,
        step: int = 256,
    ) -> None:
        self.times_N = np.broadcast_to(np.asarray(times, dtype=np.int64), num_rows)
        self.tolerance = tolerance
        self._columns: Tensor | None = None
        parts = [
            self.look(rows_of(first, min(first + step, num_rows)), deep=True)
            for first in range(0, num_rows, step)
        ]
        self.probes = np.concatenate([probes for probes, _ in parts])
        self.means = np.concatenate([means for _, means in parts])

    @classmethod
    def of(cls, rows: Tensor, *, times: int | IntArray = 1) -> Truth:
        """Return the truth of rows [N, *shape] that are in RAM."""
        return cls(lambda first, end: rows[first:end], len(rows), times=times)

    def look(self, rows: Tensor, *, deep: bool) -> tuple[Probes, FloatArray]:
        """Return a few values of each row, float32 [n, probes], and its mean if `deep`."""
        flat = rows.reshape(len(rows), -1)
        if self._columns is None:
            spots = np.random.default_rng(0).choice(flat.shape[1], min(_NUM_PROBES, flat.shape[1]),
                                                    replace=False)  # fmt: skip
            self._columns = torch.from_numpy(spots)
        probes: Probes = flat.index_select(1, self._columns).float().cpu().numpy()
        means: FloatArray = np.zeros(len(rows))
        if deep:
            means = flat.mean(1, dtype=torch.float64).cpu().numpy()
        return probes, means

    def receipt(self, *, deep: bool) -> Receipt:
        """Return what takes down the batches of one pass."""
        return Receipt(self, deep=deep)


class Receipt:
    """Takes down what a pass delivers.

    Args:
        deep: look at every value. Else at a few of each row, which takes microseconds and leaves
            the caches as they are.
    """

    def __init__(self, truth: Truth, *, deep: bool) -> None:
        self._truth, self._deep = truth, deep
        self._ids: list[IntArray] = []
        self._seen: list[tuple[Probes, FloatArray]] = []

    def take(self, batch: object) -> None:
        """Note a batch; it is not needed afterwards."""
        ids, rows = unpack(batch)
        if ids is not None:
            self._ids.append(ids.copy())
        self._seen.append(self._truth.look(rows, deep=self._deep))

    def check(self, who: str) -> None:
        """Compare with the truth.

        Raises:
            BenchmarkError: rows are missing, come too often, or hold other values.
        """
        truth = self._truth
        probes = np.concatenate([p for p, _ in self._seen]) if self._seen else truth.probes[:0]
        means = np.concatenate([m for _, m in self._seen]) if self._seen else truth.means[:0]
        wanted = int(truth.times_N.sum())
        if len(probes) != wanted:
            raise BenchmarkError(f"{who}: {len(probes)} rows came, {wanted} were asked for.")
        if len(self._ids) == len(self._seen):
            ids = np.concatenate(self._ids)
            _check_counts(ids, truth.times_N, who)
        elif truth.tolerance:
            raise BenchmarkError(f"{who}: batches must tell which rows they hold.")
        else:
            ids = _recognise(probes, truth, who)
        off = np.abs(probes - truth.probes[ids]).max(initial=0.0)
        if self._deep:
            off = max(off, np.abs(means - truth.means[ids]).max(initial=0.0) - _EXACT)
        if not off <= truth.tolerance:
            raise BenchmarkError(f"{who}: values are off by {off:.3g}.")


def _check_counts(ids: IntArray, times_N: IntArray, who: str) -> None:
    if ids.min(initial=0) < 0 or ids.max(initial=0) >= len(times_N):
        raise BenchmarkError(f"{who}: there is no row {ids.max()}.")
    wrong = np.flatnonzero(np.bincount(ids, minlength=len(times_N)) != times_N)
    if len(wrong):
        came = int((ids == wrong[0]).sum())
        raise BenchmarkError(
            f"{who}: {len(wrong)} rows came too often or not at all; row {wrong[0]} came {came} "
            f"times, not {times_N[wrong[0]]}."
        )


def _recognise(probes: Probes, truth: Truth, who: str) -> IntArray:
    """Return the ids of rows that did not tell theirs, by pairing both sides in sorted order."""
    wanted = np.repeat(np.arange(len(truth.times_N)), truth.times_N)
    there, here = _sorted(truth.probes[wanted]), _sorted(probes)
    ids = np.empty(len(probes), dtype=np.int64)
    ids[here] = wanted[there]
    same = (probes[here] == truth.probes[wanted][there]).all(axis=1)
    if not same.all():
        raise BenchmarkError(
            f"{who}: {int((~same).sum())} of {len(same)} rows are not those that were asked for: "
            "some came twice, are missing or hold other values."
        )
    return ids


def _sorted(probes: Probes) -> IntArray:
    return np.lexsort(probes.T)


def unpack(batch: object) -> tuple[IntArray | None, Tensor]:
    """Return ids, if the batch tells them, and rows of whatever a loader delivers.

    Known are our `Batch`, a tensor or array of rows, and tuples, lists and mappings whose first
    item is that. Ids are a second item of int64 [n] in a tuple or list.
    """
    if isinstance(batch, Batch):
        return batch.ids, batch.inputs
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()))
    ids = None
    if isinstance(batch, Sequence) and not isinstance(batch, (str, bytes)):
        second = batch[1] if len(batch) == 2 else None
        if isinstance(second, Tensor) and second.dtype == torch.int64 and second.ndim == 1:
            ids = second.numpy()
        batch = batch[0]
    if isinstance(batch, np.ndarray):
        batch = torch.from_numpy(batch)
    if not isinstance(batch, Tensor):
        raise BenchmarkError(f"A loader delivered {type(batch).__name__}, which holds no rows.")
    return ids, batch
