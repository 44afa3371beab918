"""Rows that cannot be read: which, where and why, and what is left without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chirpid.types import IntArray

MOST_NAMED = 5
"""Places that a message names before it counts the rest."""


@dataclass(frozen=True, slots=True)
class BadRows:
    """Neighbouring rows of a file."""

    path: Path
    first: int
    end: int
    """The row after the last; `first` where nothing of the file can be read."""
    why: str
    part: str = ""
    """Of the file, such as a dataset in it."""

    def __str__(self) -> str:
        where = f"{self.path}, {self.part}" if self.part else str(self.path)
        if self.end == self.first:
            return f"{where} ({self.why})"
        last = f" to {self.end - 1}" if self.end - self.first > 1 else ""
        return f"{where}: row{'s' if last else ''} {self.first}{last} ({self.why})"


def listed(bad: Sequence[BadRows]) -> str:
    """Return places for a message of one line: the first few, and how many more there are."""
    more = len(bad) - MOST_NAMED
    return "; ".join(map(str, bad[:MOST_NAMED])) + (f"; and {more} more" if more > 0 else "")


def rows_left(num_rows: int, spans: Sequence[tuple[int, int]]) -> IntArray | None:
    """Return the rows without those of some spans, int64 [n]; None if those are all."""
    if not spans:
        return None
    good = np.ones(num_rows, dtype=bool)
    for first, end in spans:
        good[first:end] = False
    return np.flatnonzero(good).astype(np.int64, copy=False)
