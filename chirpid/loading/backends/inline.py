"""Fetches in the calling thread: no hand-over, nothing to go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chirpid.data.datasets import SegmentDataset, as_ids
from chirpid.loading.backends.base import Ring, largest
from chirpid.types import Batch, IntArray


class InlineBackend:
    """Two buffers in turn; a third where a device copies from them while the next is filled."""

    def __init__(self, dataset: SegmentDataset, *, pin_memory: bool = False) -> None:
        self.dataset = dataset
        self._ring = Ring(dataset, num_slots=3 if pin_memory else 2, pin_memory=pin_memory)

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        self._ring.reserve(largest(batches))
        for turn, ids in enumerate(map(as_ids, batches)):
            inputs, stages = self.dataset.fetch(ids, self._ring.slot(turn))
            yield Batch(ids=ids, inputs=inputs, stages=stages)
            self._ring.was_used(turn)

    def close(self) -> None:
        """Nothing to end."""
