"""Mean and deviation per mel band of a training part, the same in every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from chirpid.data.order import batches_of
from chirpid.seeds import U64, mix64
from chirpid.types import Batch, FloatArray, IntArray

_STATS = 3  # stream of random numbers
_BATCH_SIZE = 32

Run = Callable[[Sequence[IntArray]], Iterator[Batch]]
"""Delivers batches of ids: a loader's `run`."""


class BandStats:
    """Sums per segment, kept, so that k folds that share most of their segments cost one pass.

    Args:
        run: fetches the segments, with all the workers that training has.
        to_spec: rows [B, *shape] to centred spectrograms [B, M, F].
        max_segments: statistics come from at most so many segments of a training part.
        progress: called with (segments measured, segments to measure).
    """

    def __init__(
        self,
        run: Run,
        key_N: U64,
        to_spec: Callable[[Tensor], Tensor],
        *,
        max_segments: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.run, self.key_N, self.to_spec = run, key_N, to_spec
        self.max_segments, self.progress = max_segments, progress
        self._sums: dict[int, FloatArray] = {}

    def of(self, ids: IntArray, *, per_band: bool) -> tuple[Tensor, Tensor]:
        """Return (mean, deviation), float32 [M] each, of the segments `ids`.

        A large part is sampled by the lowest hash, so that folds share their samples.
        """
        rank = mix64(_STATS, self.key_N[ids])
        chosen = np.sort(ids[np.argsort(rank, kind="stable")[: self.max_segments]])
        self._measure(np.array([i for i in chosen if i not in self._sums], dtype=np.int64))
        # Summed in the order of ids: the same bits in any process.
        count, total, square = np.sum([self._sums[i] for i in chosen.tolist()], axis=0)
        if not per_band:
            count, total, square = (np.full_like(x, x.sum()) for x in (count, total, square))
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 0.0))
        return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()

    def _measure(self, ids: IntArray) -> None:
        done = 0
        for batch in self.run(batches_of(ids, _BATCH_SIZE)):
            rows = batch.inputs.cpu()
            for position, index in enumerate(batch.ids.tolist()):
                # One by one: the bits of a segment must not depend on its neighbours.
                self._sums[index] = self._sums_of(rows[position : position + 1])
            done += len(batch)
            if self.progress:
                self.progress(done, len(ids))

    @torch.no_grad()
    def _sums_of(self, row: Tensor) -> FloatArray:
        """Return count, sum and sum of squares per band, float64 [3, M]."""
        spec_MF = self.to_spec(row)[0].double().numpy()
        count = np.full(len(spec_MF), spec_MF.shape[1], dtype=np.float64)
        return np.stack([count, spec_MF.sum(axis=1), np.square(spec_MF).sum(axis=1)])
