"""Samples of one shape, kept as rows of one table that never grows over its bound."""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from chirpid.data.general.columns import Columns, Layout
from chirpid.data.wrap.maps import TableMap
from chirpid.data.wrap.recency import SLOT_BYTES, Recency
from chirpid.data.wrap.rows import Rows, located
from chirpid.errors import BudgetError
from chirpid.types import IntArray, size_text

_ID_BYTES = 8
_ALL = np.empty(0, np.int64)


class CachePolicy(StrEnum):
    """What a cache that is full does."""

    lru = "lru"
    """The sample that was used the longest time ago makes room."""
    first = "first"
    """What came first stays. Of epochs that ask for all this finds more than `lru` does."""


class RowTable:
    """Rows by the ids of their samples. May be used by many threads at once.

    Args:
        num_ids: samples of the dataset.
        max_bytes: of the rows and of all that is kept about them.

    Raises:
        BudgetError: not one row has room.
    """

    def __init__(
        self, layout: Layout, num_ids: int, max_bytes: int, *, policy: CachePolicy
    ) -> None:
        self.layout, self.num_kept, self.num_evicted = layout, 0, 0
        self._about_bytes = _ID_BYTES * num_ids
        self.row_bytes = layout.batch_row_bytes + _ID_BYTES + SLOT_BYTES
        self.num_slots = slots_within(
            max_bytes - self._about_bytes, layout, self.row_bytes, num_ids
        )
        self.is_stable = policy is CachePolicy.first or self.num_slots == num_ids
        """Rows stay where they are for good."""
        self._recency = None if self.is_stable else Recency(self.num_slots)
        self._slot_of = np.full(num_ids, -1, np.int64)
        self._id_of = np.empty(self.num_slots, np.int64)
        self.map = TableMap(layout, self.num_slots, shared=False)
        self._rows = [Rows(tensor) for tensor in self.map.columns.tensors]
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._about_bytes + self.num_kept * self.row_bytes

    def is_whole(self) -> bool:
        """Return whether every sample is here, so that nothing is written any more."""
        return self.num_kept == len(self._slot_of)

    def after_fork(self) -> None:
        """Forget a lock that may have been held when this process was forked."""
        self._lock = threading.Lock()

    def has_any(self, ids: IntArray) -> bool:
        """Return whether a row of one of these samples is here."""
        return bool((self._slot_of[ids] >= 0).any())

    def read(self, ids: IntArray, out: Columns) -> IntArray:
        """Write the rows that are here into `out`, and return the places of the others in `ids`."""
        with self._lock:
            slots = self._slot_of[ids]
            here = slots >= 0
            if here.all():
                copy_all(self._rows, slots, out)
                missing = _ALL
            else:
                places, missing = np.flatnonzero(here), np.flatnonzero(~here)
                slots = slots[places]
                copy_some(self._rows, slots, out, places)
            if self._recency is not None:
                self._recency.touch(slots)
        return missing

    def view(self, id_: int) -> Columns | None:
        """Return the row of a sample in the memory of the table; None if it is not here."""
        slot = int(self._slot_of[id_])
        return None if slot < 0 else self.map.columns[slot : slot + 1]

    def put(self, ids: IntArray, batch: Columns) -> None:
        """Keep row i of a batch for sample `ids[i]`, as far as there is room."""
        with self._lock:
            rows = first_places(ids, self._slot_of[ids] < 0)
            slots = self._slots_for(len(rows))
            rows = rows[len(rows) - len(slots) :]  # of more than there are slots, the last
            copy_some([Rows(tensor) for tensor in batch.tensors], rows, self.map.columns, slots)
            self._slot_of[ids[rows]] = slots
            self._id_of[slots] = ids[rows]
            if self._recency is not None:
                self._recency.touch(slots)

    def _slots_for(self, num: int) -> IntArray:
        """Return slots for new rows, as many as are to be had."""
        num_free = min(num, self.num_slots - self.num_kept)
        slots = np.arange(self.num_kept, self.num_kept + num_free)
        self.num_kept += num_free
        num_more = min(num, self.num_slots) - num_free
        if self._recency is None or not num_more:
            return slots
        self._recency.touch(slots)  # or they would be the oldest
        old = self._recency.oldest(num_more)
        self._slot_of[self._id_of[old]] = -1
        self.num_evicted += num_more
        return np.concatenate([slots, old])


class SharedRows:
    """Rows that all processes fill together: sample i in slot i, of the first that have room.

    Args:
        num_ids: samples of the dataset.
        max_bytes: of the rows and their flags, for all processes together.

    Raises:
        BudgetError: not one row has room, or memory cannot be shared.
    """

    is_stable = True
    num_evicted = 0

    def __init__(self, layout: Layout, num_ids: int, max_bytes: int) -> None:
        self.layout = layout
        self.row_bytes = layout.batch_row_bytes + 1
        num_slots = slots_within(max_bytes, layout, self.row_bytes, num_ids)
        self.map = TableMap(layout, num_slots, shared=True)
        self._prepare()

    def _prepare(self) -> None:
        self.num_slots = self.map.num_rows
        self._rows = [Rows(tensor) for tensor in self.map.columns.tensors]
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """Forget a lock that may have been held when this process was forked."""
        self._lock = threading.Lock()

    @property
    def num_kept(self) -> int:
        return int(np.count_nonzero(self.map.flags))

    @property
    def nbytes(self) -> int:
        return self.num_kept * self.row_bytes

    def has_any(self, ids: IntArray) -> bool:
        """Return whether a row of one of these samples is here."""
        return bool(self._here(ids).any())

    def _here(self, ids: IntArray) -> npt.NDArray[np.bool_]:
        here: npt.NDArray[np.bool_] = self.map.flags[np.minimum(ids, self.num_slots - 1)]
        return here & (ids < self.num_slots)

    def read(self, ids: IntArray, out: Columns) -> IntArray:
        """Write the rows that are here into `out`, and return the places of the others in `ids`."""
        with self._lock:
            here = self._here(ids)
        # A flag is set after its row is written, and read before its row is. Locks taken between
        # hold that order on processors that would change it.
        with self._lock:
            if here.all():
                copy_all(self._rows, ids, out)
                return _ALL
            places = np.flatnonzero(here)
            copy_some(self._rows, ids[places], out, places)
            return np.flatnonzero(~here)

    def view(self, id_: int) -> Columns | None:
        """Return the row of a sample in the memory of the table; None if it is not here."""
        here = id_ < self.num_slots and self.map.flags[id_]
        return self.map.columns[id_ : id_ + 1] if here else None

    def put(self, ids: IntArray, batch: Columns) -> None:
        """Keep row i of a batch for sample `ids[i]`, if it has a slot.

        Two processes that make one sample at once write the same row twice.
        """
        with self._lock:
            rows = first_places(ids, (ids < self.num_slots) & ~self._here(ids))
            slots = ids[rows]
            copy_some([Rows(tensor) for tensor in batch.tensors], rows, self.map.columns, slots)
        with self._lock:
            self.map.flags[slots] = True

    def __getstate__(self) -> dict[str, Any]:
        return {"layout": self.layout, "row_bytes": self.row_bytes, "map": self.map}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()


def slots_within(max_bytes: int, layout: Layout, row_bytes: int, num_ids: int) -> int:
    """Return how many rows have room.

    Raises:
        BudgetError: none has.
    """
    spare = max_bytes - layout.slot_bytes(1)  # columns begin at whole lines of the cache
    num_slots = min(num_ids, spare // row_bytes)
    if num_slots < 1:
        raise BudgetError(
            f"max_memory_usage leaves {size_text(max(0, max_bytes))} for rows, which is less than "
            f"one of {layout.batch_row_bytes} bytes takes. Raise it, or leave the cache out."
        )
    return num_slots


def first_places(ids: IntArray, wanted: Any) -> IntArray:
    """Return where in `ids` each wanted id stands first, in order."""
    places = np.flatnonzero(wanted)
    return places[np.sort(np.unique(ids[places], return_index=True)[1])]


def copy_all(rows: list[Rows], ids: IntArray, out: Columns) -> None:
    """Write row `ids[i]` of each column into row i of `out`."""
    ids, address = located(ids)
    for column, tensor in zip(rows, out.tensors, strict=True):
        column.into(ids, address, tensor)


def copy_some(rows: list[Rows], ids: IntArray, out: Columns, places: IntArray) -> None:
    """Write row `ids[i]` of each column into row `places[i]` of `out`."""
    for column, tensor in zip(rows, out.tensors, strict=True):
        column.into_places(ids, tensor, places)
