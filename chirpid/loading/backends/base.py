"""What all backends promise, and the buffers they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from chirpid.data.datasets import SegmentDataset
from chirpid.types import Batch, IntArray


class LoaderBackend(Protocol):
    """Fetches batches of ids. It knows no epochs and no folds, and so outlives both."""

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one `Batch` per array of ids, in order.

        A batch is valid until the next-but-one is asked for. Only one iterator may be in use.
        """
        ...

    def close(self) -> None:
        """End threads and processes."""
        ...


class Ring:
    """Preallocated float32 batches, used in turn."""

    def __init__(self, dataset: SegmentDataset, *, num_slots: int, pin_memory: bool) -> None:
        self._shape = dataset.spec.shape
        self._num_slots, self._pin = num_slots, pin_memory
        self._slots: list[Tensor] = []
        self._batch_size = 0

    def reserve(self, batch_size: int) -> None:
        """Make sure that every slot holds `batch_size` rows."""
        if batch_size <= self._batch_size:
            return
        self._batch_size = batch_size
        # A caller in inference mode would make slots that nobody may write to outside of it.
        with torch.inference_mode(False):
            self._slots = [
                torch.empty((batch_size, *self._shape), pin_memory=self._pin)
                for _ in range(self._num_slots)
            ]

    def slot(self, turn: int) -> Tensor:
        """Return the buffer of batch number `turn`."""
        return self._slots[turn % self._num_slots]


def largest(batches: Sequence[IntArray]) -> int:
    """Return the size of the largest batch."""
    return max((len(ids) for ids in batches), default=0)
