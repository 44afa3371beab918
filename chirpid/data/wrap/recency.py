"""Which of many slots was used the longest time ago, by whole batches of them."""

from __future__ import annotations

import numpy as np

from chirpid.types import IntArray

LOOK_SHARE = 16
"""One look at all slots finds this part of them to give up, which makes a look for each rare."""
SLOT_BYTES = 8 + 8 + 2
"""Of a slot: when it was used, its place in a look, and its share of what a look found."""


class Recency:
    """The order in which slots were used."""

    def __init__(self, num_slots: int) -> None:
        self._used = np.zeros(num_slots, np.int64)
        self._now = 0
        self._found = np.empty(0, np.int64)
        """Slots that were the oldest, in their order, as far as they have not been used since."""
        self._found_used = self._found

    def touch(self, slots: IntArray) -> None:
        """Say that slots were used, one after the other."""
        self._used[slots] = np.arange(self._now + 1, self._now + 1 + len(slots))
        self._now += len(slots)

    def oldest(self, num: int) -> IntArray:
        """Return the slots that were used the longest time ago, which are to be used now."""
        parts = []
        while num:
            if not len(self._found):
                self._look(num)
            slots, used = self._found[:num], self._found_used[:num]
            self._found, self._found_used = self._found[num:], self._found_used[num:]
            slots = slots[self._used[slots] == used]
            self._used[slots] = np.iinfo(np.int64).max  # not to be found again by another look
            parts.append(slots)
            num -= len(slots)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _look(self, num: int) -> None:
        most = min(len(self._used), max(num, len(self._used) // LOOK_SHARE))
        slots = np.argpartition(self._used, most - 1)[:most]
        self._found = slots[np.argsort(self._used[slots])]
        self._found_used = self._used[self._found]
