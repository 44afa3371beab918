"""The ways in which rows of a store come into a batch: from memory, by reads, block by block."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from chirpid.data.buffers import ThreadBuffers
from chirpid.data.general.bad_rows import BadRows, listed
from chirpid.data.general.columns import Columns
from chirpid.data.tensors.head import Head
from chirpid.data.tensors.kept_blocks import KeptBlocks
from chirpid.data.tensors.packing import PackedRows, Packing
from chirpid.data.wrap.budgets import free_bytes
from chirpid.errors import BudgetError, StorageError
from chirpid.storage.direct import DirectRows
from chirpid.storage.pages import ReadAhead, can_read_ahead, runs_of, share_in_ram
from chirpid.storage.rowstore import open_rows, read_rows, verify
from chirpid.types import IntArray, size_text

IN_RAM = 0.95
"""Share of a map in the page cache from which on nothing has to be asked for."""

FREE_SHARE = 0.75
"""Of the free RAM, that rows may take where no budget is given."""


class StoreRows(Protocol):
    """Rows of a store by their numbers."""

    def into(self, ids: IntArray, out: Columns) -> None:
        """Write row `ids[i]` into row i of a batch. Ids are checked by the caller."""

    def close(self) -> None:
        """Release files and memory."""


class MemoryRows:
    """Rows in RAM, or on a memory map: columns of all of them are views."""

    def __init__(self, packing: Packing, rows: Tensor, ahead: ReadAhead | None = None) -> None:
        self._rows: PackedRows | None = PackedRows(packing, rows)
        self._ahead = ahead

    @property
    def rows(self) -> Tensor:
        """All rows, uint8 [N, row_bytes]."""
        assert self._rows is not None, "the store is closed"
        return self._rows.rows

    @property
    def columns(self) -> Columns:
        assert self._rows is not None, "the store is closed"
        return self._rows.columns

    def into(self, ids: IntArray, out: Columns) -> None:
        assert self._rows is not None, "the store is closed"
        if (ahead := self._ahead) is not None:
            ahead.ask(ids)
            if ahead.is_done:
                self._ahead = None
        self._rows.into(ids, out)

    def close(self) -> None:
        self._rows = self._ahead = None


def mapped_rows(folder: Path, head: Head) -> MemoryRows:
    """Return rows on a memory map, in pages that all processes share."""
    rows = open_rows(folder, head.rows)
    ahead = None
    if can_read_ahead() and share_in_ram(rows) < IN_RAM:
        ahead = ReadAhead(folder / "rows.bin", head.rows, once=True)
    return MemoryRows(head.packing, rows, ahead)


def loaded_rows(folder: Path, head: Head, *, check: bool = True) -> MemoryRows:
    """Return rows in RAM.

    Args:
        check: compare them with their checksums; not where it is known that some differ.
    Raises:
        StorageError: they differ; names the rows.
    """
    rows = torch.empty((head.num_rows, head.packing.row_bytes), dtype=torch.uint8)
    num_threads = torch.get_num_threads()
    if not check:
        rows.copy_(open_rows(folder, head.rows))
        return MemoryRows(head.packing, rows)
    try:
        read_rows(folder, head.rows, rows, num_threads=num_threads)
    except StorageError:
        if bad := verify(folder, head.rows, num_threads=num_threads):
            raise damage_error(folder, head, bad) from None
        raise
    return MemoryRows(head.packing, rows)


def check_ram(head: Head, budget_bytes: int | None) -> None:
    """Refuse rows that do not fit into RAM.

    Raises:
        BudgetError: with what they need, what they may take, and what to do.
    """
    budget = int(FREE_SHARE * free_bytes()) if budget_bytes is None else budget_bytes
    if head.rows.num_bytes > budget:
        raise BudgetError(
            f"mode='eager' needs {size_text(head.rows.num_bytes)}, the memory budget allows "
            f"{size_text(budget)}. Use mode='cached', or raise budget_bytes."
        )


def bad_rows(folder: Path, head: Head, chunks: list[int]) -> list[BadRows]:
    """Return the rows of chunks that differ from their checksums."""
    file, why = folder / "rows.bin", "chunk {} differs from its checksum"
    return [BadRows(file, *head.rows.span(chunk), why.format(chunk)) for chunk in chunks]


def damage_error(folder: Path, head: Head, chunks: list[int]) -> StorageError:
    """Return what is wrong with a store in one line, and what to do."""
    return StorageError(
        f"Damaged: {listed(bad_rows(folder, head, chunks))}. Remove {folder} and write it again, "
        "or leave these rows out with on_bad='skip'."
    )


class ReadRows:
    """Rows that are read when they are wanted, neighbours together; nothing is kept."""

    def __init__(self, folder: Path, head: Head) -> None:
        self.path, self._packing = folder / "rows.bin", head.packing
        self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._buffers = ThreadBuffers()

    def into(self, ids: IntArray, out: Columns) -> None:
        row_bytes = self._packing.row_bytes
        wanted, place_B = np.unique(ids, return_inverse=True)
        rows = self._buffers.take("rows", (len(wanted), row_bytes), torch.uint8)
        data, at = memoryview(rows.numpy().reshape(-1)), 0  # type: ignore[arg-type]
        for first, end in runs_of(wanted):
            size = (end - first) * row_bytes
            read_whole(self._handle, self.path, data[at : at + size], first * row_bytes)
            at += size
        self._packing.unpack(rows, out, np.ascontiguousarray(place_B))

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class PastCacheRows:
    """Rows that are read past the page cache."""

    def __init__(self, folder: Path, head: Head) -> None:
        self._rows, self._packing = DirectRows(folder / "rows.bin", head.rows), head.packing

    def into(self, ids: IntArray, out: Columns) -> None:
        def unpack(rows: Tensor, wanted: IntArray, places: IntArray) -> None:
            self._packing.unpack(rows, out, wanted, places)

        self._rows.read(ids, unpack)

    def close(self) -> None:
        self._rows.close()


class BlockRows:
    """Rows of which whole blocks are read in one go, checked, and kept while they are in use."""

    def __init__(self, folder: Path, head: Head, kept_bytes: int) -> None:
        self.folder, self._head, self._packing = folder, head, head.packing
        self._layout = head.rows
        self._handle = os.open(folder / "rows.bin", os.O_RDONLY | os.O_CLOEXEC)
        self._sums = read_checksums(folder)
        self.blocks = KeptBlocks(kept_bytes)

    def into(self, ids: IntArray, out: Columns) -> None:
        block_B = ids // self._layout.chunk_rows
        # Those that are kept come first, before reading others drives them out.
        wanted = sorted(np.unique(block_B).tolist(), key=lambda block: block not in self.blocks)
        for block in wanted:
            rows = self.blocks.get(block, self._reader(block))
            places = np.flatnonzero(block_B == block)
            first, _ = self._layout.span(block)
            self._packing.unpack(rows, out, ids[places] - first, places)

    def _reader(self, block: int) -> Callable[[], Tensor]:
        return lambda: self.read(block)

    def read(self, block: int) -> Tensor:
        """Return the rows of a block as bytes, uint8 [n, row_bytes].

        Raises:
            StorageError: they are not there, or differ from their checksum.
        """
        first, end = self._layout.span(block)
        rows = torch.empty((end - first, self._layout.row_bytes), dtype=torch.uint8)
        data = memoryview(rows.numpy().reshape(-1))  # type: ignore[arg-type]
        read_whole(self._handle, self.folder / "rows.bin", data, first * self._layout.row_bytes)
        if zlib.crc32(data) != self._sums[block]:
            raise damage_error(self.folder, self._head, [block])
        return rows

    def close(self) -> None:
        self.blocks.clear()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_checksums(folder: Path) -> list[int]:
    """Return the CRC-32 of each chunk of a whole store, as `chirpid.storage.rowstore` keeps it."""
    marks = np.fromfile(folder / "chunks.bin", dtype=[("done", "S4"), ("crc", "<u4")])
    return [int(crc) for crc in marks["crc"]]


def read_whole(handle: int, path: Path, data: memoryview, offset: int) -> None:
    """Fill `data` from a file.

    Raises:
        StorageError: the disk fails, or the file is shorter.
    """
    at = 0
    while at < len(data):
        try:
            count = os.preadv(handle, [data[at:]], offset + at)
        except OSError as error:
            raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
        if not count:
            raise StorageError(
                f"{path} ends at byte {offset + at}, before the samples that are wanted: it was "
                "cut. Write the store again."
            )
        at += count
