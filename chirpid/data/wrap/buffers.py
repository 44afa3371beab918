"""Memory for batches that is used again, but never while anybody uses what was in it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from chirpid.data.general.columns import Columns, Layout, layout_of
from chirpid.data.general.fill import fill
from chirpid.data.general.trees import Tree, leaves_of
from chirpid.data.wrap.filling import no_numbers
from chirpid.errors import ConfigError, DataError


class PreallocatedBuffer:
    """Batches in memory that is kept. A slot that is still in use is replaced, not written to.

    In use is what anybody still holds of a batch: a tensor, a view or an array of it.

    Args:
        sample: a layout, or a sample of numbers to take it from.
        batch_size: rows of a slot.
        num_slots: batches that may be held at once before a slot costs new memory.
        pin_memory: page-locked memory, for copies to a GPU.
        say: told what is not done as asked; by default a warning.

    Raises:
        ConfigError: a number is below 1.
        DataError: the sample holds what is no number.
    """

    def __init__(
        self,
        sample: Layout | Tree,
        batch_size: int,
        *,
        num_slots: int = 2,
        pin_memory: bool = False,
        say: Callable[[str], Any] | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("num_slots", num_slots)):
            if value < 1:
                raise ConfigError(f"{name}={value} is below 1. Give 1 or more.")
        layout = sample if isinstance(sample, Layout) else layout_of([sample])
        if layout is None:
            raise DataError(
                f"A buffer holds numbers, and {no_numbers(sample)}. Convert it, or leave it out."
            )
        if pin_memory and not torch.cuda.is_available():
            (say or warnings.warn)("pin_memory true -> false: there is no GPU to copy to")
            pin_memory = False
        self.layout, self.batch_size, self.num_slots = layout, batch_size, num_slots
        self._pin = pin_memory
        self.num_replaced = 0
        """Slots that were still in use when their turn came."""
        self._slots: list[Columns] = []
        self._turn = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the slots that were made."""
        return sum(slot.nbytes for slot in self._slots)

    def take(self, num_rows: int | None = None) -> Columns:
        """Return memory to fill, of `num_rows` rows, or of a whole batch.

        A batch larger than `batch_size` gets memory of its own.
        """
        num_rows = self.batch_size if num_rows is None else num_rows
        if num_rows > self.batch_size:
            return self.layout.empty(num_rows, pin_memory=self._pin)
        rows = self._slot().first(num_rows)
        # What is lent knows who uses it, and what is made of it is lent as well.
        return Columns(self.layout.skeleton, leaves_of(rows.lend()))

    def _slot(self) -> Columns:
        if len(self._slots) < self.num_slots:
            slot = self.layout.empty(self.batch_size, pin_memory=self._pin)
            self._slots.append(slot)
            return slot
        turn, self._turn = self._turn, (self._turn + 1) % self.num_slots
        if self._slots[turn].is_lent():
            self.num_replaced += 1
            self._slots[turn] = self.layout.empty(self.batch_size, pin_memory=self._pin)
        return self._slots[turn]

    def __iter__(self) -> Iterator[Columns]:
        return self

    def __next__(self) -> Columns:
        return self.take()

    def collate(self, samples: Sequence[Tree]) -> Tree:
        """Return a batch as torch's default collation does, as the `collate_fn` of a `DataLoader`.

        Raises:
            DataError: a sample is of another structure, type or shape.
        """
        batch = self.take(len(samples))
        fill(samples, self.layout, batch, range(len(samples)))
        return batch.tree()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_slots": [], "_turn": 0}
