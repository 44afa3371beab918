"""What all backends promise, and the buffers they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from chirpid.data.datasets import BatchSource
from chirpid.data.general.columns import Columns
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


class Fences:
    """What a device has to be past before a buffer may be filled again.

    From page-locked memory it copies on its own, long after it was told to.

    Args:
        make: returns the point up to which it has been given work; None if nothing copies so.
    """

    def __init__(self, make: Callable[[], Fence] | None) -> None:
        self._make = make
        self._of_slot: dict[int, Fence] = {}

    @property
    def are_needed(self) -> bool:
        """Whether something copies on its own."""
        return self._make is not None

    def was_used(self, slot: int) -> None:
        """Note that the caller has queued its copies out of a buffer."""
        if self._make is not None:
            self._of_slot[slot] = self._make()

    def wait(self, slot: int) -> None:
        """Wait until the device has copied what was in a buffer; several threads may."""
        fence = self._of_slot.get(slot)
        if fence is not None:
            fence.synchronize()

    def wait_for_all(self) -> None:
        """Wait until the device has done all that it was given, before buffers are replaced."""
        for fence in [*self._of_slot.values(), *([self._make()] if self._make else [])]:
            fence.synchronize()
        self._of_slot.clear()


class Ring:
    """Preallocated batches, used in turn."""

    def __init__(self, dataset: BatchSource, *, num_slots: int, pin_memory: bool) -> None:
        self._spec = dataset.spec
        self._num_slots, self._pin = num_slots, pin_memory
        self._slots: list[Any] = []
        self._batch_size = 0
        self._fences = Fences(make_fence if pin_memory else None)
        self._kept_for_later: set[int] = set()
        """Slots that were lent still when the next batch was asked for."""
        self._parts: dict[tuple[int, int], Sequence[Any]] = {}

    def reserve(self, batch_size: int) -> None:
        """Make sure that every slot holds `batch_size` rows and that none is being read."""
        self._fences.wait_for_all()
        if batch_size <= self._batch_size:
            return
        self._batch_size = batch_size
        self._parts.clear()
        self._slots = [
            self._spec.empty(batch_size, pin_memory=self._pin) for _ in range(self._num_slots)
        ]

    def renew(self, turn: int) -> None:
        """Take new memory for the buffer of batch `turn` if somebody still uses what was lent.

        To be called by one thread, before any fills the buffer.
        """
        slot = turn % self._num_slots
        if self._is_lent(slot):
            self._slots[slot] = self._spec.empty(self._batch_size, pin_memory=self._pin)
            self._parts = {key: parts for key, parts in self._parts.items() if key[0] != slot}

    def slot(self, turn: int) -> Any:
        """Return the buffer of batch number `turn`, once the device has copied what was in it."""
        self._fences.wait(turn % self._num_slots)
        return self._slots[turn % self._num_slots]

    def parts(self, turn: int, size: int) -> Sequence[Any]:
        """Return the buffer of `turn` in parts of `size` rows; kept, as cutting takes its time."""
        key = (turn % self._num_slots, size)
        if key not in self._parts:
            self._parts[key] = self._slots[key[0]].split(size)
        return self._parts[key]

    def was_used(self, turn: int) -> None:
        """Note that the caller has queued its copies out of the buffer of batch `turn`.

        And out of those that it kept for longer: it may have copied them since, as trainers do
        that ask for a batch ahead.
        """
        slot = turn % self._num_slots
        if self._fences.are_needed:
            for kept in self._kept_for_later - {slot}:
                self._fences.was_used(kept)
            self._kept_for_later = {n for n in range(self._num_slots) if self._is_lent(n)}
        self._fences.was_used(slot)

    def _is_lent(self, slot: int) -> bool:
        return isinstance(self._slots[slot], Columns) and self._slots[slot].is_lent()


def make_fence() -> Fence:
    """Return the point up to which the device has been given work."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


def largest(batches: Sequence[IntArray]) -> int:
    """Return the rows that a buffer needs for any of the batches: one even if all are empty."""
    return max([1, *map(len, batches)])
