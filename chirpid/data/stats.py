"""Mean and deviation per mel band of a training part, the same in every mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from chirpid.data.datasets import SegmentDataset
from chirpid.seeds import U64, mix64
from chirpid.types import IntArray

_STATS = 3  # stream of random numbers


class BandStats:
    """Sums per segment, kept, so that k folds that share most of their segments cost one pass.

    Args:
        to_spec: batch of the dataset to spectrogram [B, M, F]; the front end, or identity.
        max_segments: statistics come from at most so many segments of a training part.
    """

    def __init__(
        self,
        dataset: SegmentDataset,
        key_N: U64,
        to_spec: Callable[[Tensor], Tensor],
        *,
        max_segments: int,
    ) -> None:
        self.dataset, self.key_N, self.to_spec = dataset, key_N, to_spec
        self.max_segments = max_segments
        self._sums: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}

    def of(self, ids: IntArray, *, per_band: bool) -> tuple[Tensor, Tensor]:
        """Return (mean, deviation), float32 [M] each, of the segments `ids`.

        A large part is sampled by the lowest hash, so that folds share their samples.
        """
        rank = mix64(_STATS, self.key_N[ids])
        chosen = np.sort(ids[np.argsort(rank, kind="stable")[: self.max_segments]])
        for i in chosen.tolist():
            if i not in self._sums:
                self._sums[i] = self._measure(i)
        # Summed in the order of ids: the same bits in any process.
        count, total, square = np.sum([self._sums[i] for i in chosen.tolist()], axis=0)
        if not per_band:
            count, total, square = (np.full_like(x, x.sum()) for x in (count, total, square))
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 0.0))
        return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()

    def _measure(self, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        row, _ = self.dataset.fetch(np.array([index]))
        with torch.inference_mode():
            spec_MF = self.to_spec(row)[0].double().numpy()
        count = np.full(len(spec_MF), spec_MF.shape[1], dtype=np.float64)
        return np.stack([count, spec_MF.sum(axis=1), np.square(spec_MF).sum(axis=1)])
