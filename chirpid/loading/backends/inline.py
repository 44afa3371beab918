"""Fetches in the calling thread: no hand-over, nothing to go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chirpid.data.datasets import SegmentDataset
from chirpid.loading.backends.base import Ring, largest
from chirpid.types import Batch, IntArray


class InlineBackend:
    """Two buffers in turn."""

    def __init__(self, dataset: SegmentDataset, *, pin_memory: bool = False) -> None:
        self.dataset = dataset
        self._ring = Ring(dataset, num_slots=2, pin_memory=pin_memory)

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        self._ring.reserve(largest(batches))
        for turn, ids in enumerate(batches):
            inputs, stages = self.dataset.fetch(ids, self._ring.slot(turn))
            yield Batch(ids=ids, inputs=inputs, stages=stages)

    def close(self) -> None:
        """Nothing to end."""
