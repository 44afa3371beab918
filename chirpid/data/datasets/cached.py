"""Segments in a store on the disk: on a memory map of it, or read past the page cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from chirpid.data.datasets.base import BatchDataset, as_ids
from chirpid.data.datasets.tensor import TensorDataset
from chirpid.data.gather import Gather
from chirpid.data.kept import RowSpec, Stages
from chirpid.storage.caches import hold
from chirpid.storage.direct import DirectRows, NoDirectError
from chirpid.storage.layout import RowLayout
from chirpid.storage.locks import FileLock
from chirpid.storage.pages import ReadAhead, can_read_ahead, share_in_ram
from chirpid.storage.rowstore import check_complete, open_rows
from chirpid.types import IntArray, Mode, ReadWay, size_text

IN_RAM = 0.95
"""Share of a store in the page cache from which on it counts as being there."""
AHEAD_BYTES = 2**25
"""Cold rows are asked for so far ahead of the batch in use: enough to keep a disk busy through a
step, and small beside any RAM. One batch at least, however large."""


def open_cached(
    spec: RowSpec,
    folder: Path,
    layout: RowLayout,
    *,
    read: ReadWay = ReadWay.auto,
    free_bytes: int | None = None,
    say: Callable[[str], None] | None = None,
) -> CachedDataset | DirectDataset:
    """Return the rows of a whole store.

    Args:
        free_bytes: RAM that pages of the store can take; None for enough.
        say: told of a store that does not fit, and of a way of reading that cannot be had.
    Raises:
        StorageError: the store is not whole or cannot be read.
    """
    if read is ReadWay.direct:
        try:
            return DirectDataset(spec, folder, layout)
        except NoDirectError as error:
            if say:
                say(f"read direct -> map: {error}")
    fits = free_bytes is None or layout.num_bytes <= free_bytes
    mapped = CachedDataset(spec, folder, layout, fits=fits)
    # Quicker than direct reads even when pages drive each other out (docs/loading.md).
    if say and read is ReadWay.auto and not fits and mapped.looks_ahead:
        need, free = size_text(layout.num_bytes), size_text(free_bytes or 0)
        say(f"the rows take {need}, RAM has {free} free: they are read from the disk, ahead "
            "of use")  # fmt: skip
    return mapped


class CachedDataset(TensorDataset):
    """Rows on a memory map of a whole store, kept from eviction while open.

    Args:
        fits: the pages that are read stay in RAM.
    """

    def __init__(
        self, spec: RowSpec, folder: Path, layout: RowLayout, *, fits: bool = True
    ) -> None:
        super().__init__(spec, open_rows(folder, layout), Mode.cached)
        self.folder, self.layout, self.fits = folder, layout, fits
        self._use: FileLock | None = hold(folder)
        self._ahead: ReadAhead | None = None
        if can_read_ahead() and share_in_ram(self.rows) < IN_RAM:
            self._ahead = ReadAhead(folder / "rows.bin", layout, once=fits)
        self._expected: Sequence[IntArray] = ()
        self._next = 0  # the first of these that was not asked for
        self._num_ahead = 1

    @property
    def looks_ahead(self) -> bool:
        """Whether rows may have to come from the disk."""
        return self._ahead is not None

    def expect(self, batches: Sequence[IntArray]) -> None:
        """Take the batches that will be fetched; their rows are read while others are used."""
        self._expected, self._next = batches, 0
        batch_bytes = self.spec.row_bytes * max(map(len, batches), default=0)
        self._num_ahead = max(1, AHEAD_BYTES // max(1, batch_bytes))

    def reached(self, turn: int) -> None:
        """Ask for the batches that come after number `turn`, a few at a time."""
        if self._ahead is not None:
            end = turn + 1 + self._num_ahead
            for ids in self._expected[self._next : end]:
                self._ask(ids)
            self._next = end

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        if self._ahead is not None:
            self._ask(ids)
        return super().fetch(ids, out)

    def _ask(self, ids: IntArray) -> None:
        """Have rows read into RAM, if some are not there."""
        ahead = self._ahead
        if ahead is None or len(ids) == 0:
            return
        ids = as_ids(ids)
        if int(ids.min()) >= 0 and int(ids.max()) < self.num_segments:  # else fetch tells it
            ahead.ask(ids)
        if ahead.is_done:
            self._ahead = None

    def close(self) -> None:
        self.rows = self.rows.new_empty((0, *self.spec.shape))
        self._gather = self._ahead = None  # the former holds the map, too
        self._expected = ()
        if self._use:
            self._use.close()
            self._use = None

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file itself: a pickled map would be a copy of all of it.
        return {
            "spec": self.spec,
            "folder": self.folder,
            "layout": self.layout,
            "fits": self.fits,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class DirectDataset(BatchDataset):
    """Rows of a whole store, read past the page cache; memory is a few buffers whatever its size.

    Raises:
        NoDirectError: the file system does not read past its cache.
        StorageError: the store is not whole or cannot be read.
    """

    mode = Mode.cached

    def __init__(self, spec: RowSpec, folder: Path, layout: RowLayout) -> None:
        super().__init__(spec, layout.num_rows)
        self.folder, self.layout = folder, layout
        self._use: FileLock | None = hold(folder)
        with ExitStack() as undo:
            undo.callback(self._use.close)
            check_complete(folder, layout)
            self._rows = DirectRows(folder / "rows.bin", layout)
            undo.pop_all()

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        begin = time.perf_counter()
        ids, batch = self._batch(ids, out)

        def widen(rows: Tensor, wanted: IntArray, places: IntArray) -> None:
            Gather(self.spec, rows).into(wanted, batch, places=places, num_threads=1)

        self._rows.read(ids, widen)
        return batch, {"read": time.perf_counter() - begin, "num_cache_hits": len(ids)}

    def close(self) -> None:
        self._rows.close()
        if self._use:
            self._use.close()
            self._use = None

    def __getstate__(self) -> dict[str, Any]:
        # Threads and files are of one process.
        return {"spec": self.spec, "folder": self.folder, "layout": self.layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
