"""What all backends promise, and the buffers they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from chirpid.data.datasets import SegmentDataset
from chirpid.types import Batch, IntArray


class LoaderBackend(Protocol):
    """Fetches batches of ids. It knows no epochs and no folds, and so outlives both."""

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one `Batch` per array of ids, in order.

        A batch is valid until the next-but-one is asked for; a copy of it to a GPU must be queued
        before the next one is asked for. Only one iterator may be in use.
        """
        ...

    def close(self) -> None:
        """End threads and processes."""
        ...


class Fence(Protocol):
    """A point in the work queued on a device."""

    def synchronize(self) -> None:
        """Wait until the device is past that point."""


class Ring:
    """Preallocated float32 batches, used in turn."""

    def __init__(self, dataset: SegmentDataset, *, num_slots: int, pin_memory: bool) -> None:
        self._shape = dataset.spec.shape
        self._num_slots, self._pin = num_slots, pin_memory
        self._slots: list[Tensor] = []
        self._batch_size = 0
        # From page-locked memory the device copies on its own, steps after it was told to.
        self._make_fence: Callable[[], Fence] | None = make_fence if pin_memory else None
        self._fences: dict[int, Fence] = {}
        self._parts: dict[tuple[int, int], tuple[Tensor, ...]] = {}

    def reserve(self, batch_size: int) -> None:
        """Make sure that every slot holds `batch_size` rows and that none is being read."""
        for fence in [*self._fences.values(), *([self._make_fence()] if self._make_fence else [])]:
            fence.synchronize()
        self._fences.clear()
        if batch_size <= self._batch_size:
            return
        self._batch_size = batch_size
        self._parts.clear()
        # A caller in inference mode would make slots that nobody may write to outside of it.
        with torch.inference_mode(False):
            self._slots = [
                torch.empty((batch_size, *self._shape), pin_memory=self._pin)
                for _ in range(self._num_slots)
            ]

    def slot(self, turn: int) -> Tensor:
        """Return the buffer of batch number `turn`, once the device has copied what was in it."""
        fence = self._fences.get(turn % self._num_slots)
        if fence is not None:
            fence.synchronize()
        return self._slots[turn % self._num_slots]

    def parts(self, turn: int, size: int) -> tuple[Tensor, ...]:
        """Return the buffer of `turn` in parts of `size` rows; kept, as cutting takes its time."""
        key = (turn % self._num_slots, size)
        if key not in self._parts:
            self._parts[key] = self._slots[key[0]].split(size)  # type: ignore[no-untyped-call]
        return self._parts[key]

    def was_used(self, turn: int) -> None:
        """Note that the caller has queued its copies out of the buffer of batch `turn`."""
        if self._make_fence is not None:
            self._fences[turn % self._num_slots] = self._make_fence()


def make_fence() -> Fence:
    """Return the point up to which the device has been given work."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


def largest(batches: Sequence[IntArray]) -> int:
    """Return the size of the largest batch."""
    return max((len(ids) for ids in batches), default=0)
