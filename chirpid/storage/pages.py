"""What the system keeps of a file in RAM, and which rows it should read ahead.

A map of a cold file is slow without help: each page that is missed stops the reader, and the
system, which expects reading in sequence, fetches megabytes around it. Told of the rows of a batch
before they are touched, it reads all of them at once and nothing else.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from chirpid.storage.layout import RowLayout
from chirpid.types import IntArray

_PROBES = 256


def share_in_ram(rows: Tensor) -> float:
    """Return the share of a memory map that is in RAM, from a sample; 1 where it cannot be told.

    The system tells it of files that this user may write to, and of others that all is there.
    """
    mincore = getattr(ctypes.CDLL(None), "mincore", None)
    num_bytes = rows.numel() * rows.itemsize
    if mincore is None or num_bytes == 0:
        return 1.0
    page, found = mmap.PAGESIZE, ctypes.c_ubyte()
    base = rows.data_ptr() // page * page
    num_pages = -(-(rows.data_ptr() + num_bytes - base) // page)
    hits = 0
    probes = np.unique(np.linspace(0, num_pages - 1, _PROBES).astype(np.int64)).tolist()
    for number in probes:
        address = ctypes.c_void_p(base + number * page)
        if mincore(address, ctypes.c_size_t(page), ctypes.byref(found)) != 0:
            return 1.0
        hits += found.value & 1
    return hits / len(probes)


def runs_of(ids: IntArray) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of every run of neighbours among sorted ids, which may repeat."""
    if len(ids) == 0:
        return
    cuts = np.flatnonzero(np.diff(ids) > 1)
    starts = np.concatenate(([0], cuts + 1))
    ends = np.concatenate((cuts, [len(ids) - 1]))
    yield from zip(ids[starts].tolist(), (ids[ends] + 1).tolist(), strict=True)


class ReadAhead:
    """Asks the system to read rows of a file into its cache, without waiting for them.

    Args:
        once: never ask for a row twice, since what was read stays in RAM.
    """

    def __init__(self, path: Path, layout: RowLayout, *, once: bool) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._row_bytes = layout.row_bytes
        self._asked = np.zeros(layout.num_rows, dtype=bool) if once else None
        self._left = layout.num_rows

    @property
    def is_done(self) -> bool:
        """Whether every row was asked for, and none is worth asking for again."""
        return self._left <= 0

    def ask(self, ids: IntArray) -> None:
        """Ask for rows; a call for those that are there costs about a microsecond each."""
        if self._asked is not None:
            ids = ids[~self._asked[ids]]
            if len(ids) == 0:
                return
            self._asked[ids] = True
            # Two threads may count a row twice: it then ends early, and a few rows come unasked.
            self._left -= len(ids)
        for first, end in runs_of(np.sort(ids)):
            os.posix_fadvise(
                self._handle,
                first * self._row_bytes,
                (end - first) * self._row_bytes,
                os.POSIX_FADV_WILLNEED,
            )

    def __del__(self) -> None:
        # Not by a call: a thread may still be asking when another finds that all is done.
        os.close(self._handle)


def can_read_ahead() -> bool:
    """Return whether the system takes such advice."""
    return hasattr(os, "posix_fadvise")
