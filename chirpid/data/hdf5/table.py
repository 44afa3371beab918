"""The rows of HDF5 files one after the other, as a dataset that reads what is wanted."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chirpid.data.general.bad_rows import BadRows, listed, rows_left
from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.items import BatchItems, window_of
from chirpid.data.hdf5.fields import Field, Fields, facts_of, look_into, structure_of
from chirpid.data.hdf5.files import OpenFiles, open_file
from chirpid.data.hdf5.rows import ChunkedField, FieldRows, MappedField
from chirpid.data.tensors.kept_blocks import KeptBlocks
from chirpid.errors import DataError
from chirpid.storage.parallel import Progress, for_each
from chirpid.types import IntArray, Mode

ORDER_BYTES = 2**18
"""A block of the order is at least so large, where chunks are smaller: disks read in sequence."""


class Hdf5Table(BatchItems):
    """Rows of HDF5 files by their numbers. `HDF5Dataset` is what users make.

    Args:
        skips: files that cannot be opened, and rows that cannot be read, are left out. All rows
            are read once for that.
        window_bytes: chunks that are kept at a time, by each process.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        fields: Fields,
        names: list[str] | None,
        *,
        mode: Mode,
        skips: bool,
        window_bytes: int,
    ) -> None:
        self.mode, self.window_bytes = mode, window_bytes
        self.bad: list[BadRows] = []
        """What was left out."""
        self.paths: list[Path] = []
        self._fields: list[list[Field]] = []
        for path in paths:
            self._take(path, names, skips)
        if not self.paths:
            raise DataError(f"No file can be read: {listed(self.bad)}.")
        first = self._fields[0]
        skeleton = structure_of(fields, [field.name for field in first])
        self.layout = Layout(tuple(field.leaf for field in first), skeleton)
        self._begin()
        if skips:
            self.bad += self.check()
            self._leave_out()

    def _take(self, path: Path, names: list[str] | None, skips: bool) -> None:
        """Look into a file, and take it if it is like those before."""
        try:
            with open_file(path) as file:
                found = look_into(path, file, names)
        except DataError as error:
            if not skips:
                raise
            self.bad.append(BadRows(path, 0, 0, str(error)))
            return
        first = self._fields[0] if self._fields else found
        here, there = ([(f.name, f.leaf) for f in fields] for fields in (found, first))
        if here != there:
            raise DataError(
                f"{path} holds {_told(found)}, {self.paths[0]} {_told(first)}. Name datasets that "
                "are alike in all files with fields=, or load the files apart."
            )
        self.paths.append(path)
        self._fields.append(found)

    def _begin(self) -> None:
        self._files = OpenFiles(self.paths)
        self.blocks = KeptBlocks(self.window_bytes)
        self._readers: dict[int, list[FieldRows]] = {}
        sizes = [fields[0].num_rows for fields in self._fields]
        self._starts = np.array(list(itertools.accumulate([0, *sizes])), dtype=np.int64)
        self.block_rows, self.window_rows = _window(self._fields[0], self.window_bytes)
        self._leave_out()

    def _leave_out(self) -> None:
        starts: dict[Path, list[int]] = {}  # a file may be given twice
        for path, start in zip(self.paths, self._starts.tolist(), strict=False):
            starts.setdefault(path, []).append(start)
        spans = [
            (start + bad.first, start + bad.end)
            for bad in self.bad
            for start in starts.get(bad.path, ())
        ]
        num_rows = int(self._starts[-1])
        self._left = rows_left(num_rows, spans)
        self._num_rows = num_rows if self._left is None else len(self._left)

    def __len__(self) -> int:
        return self._num_rows

    @cached_property
    def thread_safe(self) -> bool:
        """Whether threads gain: HDF5 itself does one thing at a time, whoever asks."""
        fields = itertools.chain.from_iterable(self._fields)
        return all(field.is_plain or not field.chunk_rows for field in fields)

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write sample `ids[i]` into row i of `out`, which has as many rows as there are ids.

        Raises:
            IndexError: an id is not that of a sample.
            DataError: rows cannot be read; names them.
        """
        ids = self._checked(ids)
        if not len(ids):
            return
        rows = ids if self._left is None else self._left[ids]
        if len(self.paths) == 1:
            self._read(0, rows, out, None)
            return
        file_B = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(file_B).tolist():
            places = np.flatnonzero(file_B == number)
            self._read(number, rows[places] - self._starts[number], out, places)

    def _read(self, number: int, rows: IntArray, out: Columns, places: IntArray | None) -> None:
        readers = self._readers.get(number)
        if readers is None:
            readers = self._readers[number] = [
                self._reader(number, field) for field in self._fields[number]
            ]
        for reader, tensor in zip(readers, out.tensors, strict=True):
            reader.into(rows, tensor, places)

    def _reader(self, number: int, field: Field) -> FieldRows:
        if field.chunk_rows:
            return ChunkedField(self._files, number, field, self.blocks)
        return MappedField(self._files, number, field)

    def check(self, *, progress: Progress | None = None) -> list[BadRows]:
        """Read all chunks, and return the rows of those that cannot be read.

        What lies in a file as it is, and chunks without a checksum (`fletcher32`) or compression,
        cannot be told from what was written.

        Args:
            progress: told of chunks.
        """
        found: list[BadRows] = []
        todo = [
            (number, field, first)
            for number, fields in enumerate(self._fields)
            for field in fields
            if field.chunk_rows
            for first in range(0, field.num_rows, field.chunk_rows)
        ]

        def work(item: tuple[int, Field, int]) -> None:
            number, field, first = item
            end = min(first + field.chunk_rows, field.num_rows)
            room = torch.empty((end - first, *field.leaf.shape), dtype=field.leaf.dtype)
            reader = ChunkedField(self._files, number, field, self.blocks)
            if (bad := reader.try_read(first, end, room)) is not None:
                found.append(bad)

        num_threads = torch.get_num_threads() if self.thread_safe else 1
        for_each(work, todo, num_threads=num_threads, progress=progress)
        return sorted(found, key=lambda bad: (self.paths.index(bad.path), bad.part, bad.first))

    def fingerprint(self) -> str:
        """Return a hash of the files' sizes and times, of what is read, and of what is left out."""
        told = [f"{path} {facts_of(path)}" for path in self.paths]
        told += [str(self.layout), str([field.name for field in self._fields[0]])]
        told += [str(bad) for bad in self.bad]
        return hashlib.blake2b("\n".join(told).encode(), digest_size=10).hexdigest()

    def close(self) -> None:
        """Close the files and let go of what was kept; a later read opens them again."""
        self._files.close()
        self.blocks.clear()
        self._readers.clear()

    def __getstate__(self) -> dict[str, Any]:
        # Handles, maps and kept chunks are of one process.
        names = ("mode", "window_bytes", "bad", "paths", "_fields", "layout")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()


def _window(fields: Sequence[Field], num_bytes: int) -> tuple[int, int]:
    """Return the rows of a block of the order, and of the blocks whose chunks fit into memory."""
    chunked = [field for field in fields if field.chunk_rows]
    if not chunked:
        row_bytes = max(1, sum(field.leaf.row_bytes for field in fields))
        block = max(1, ORDER_BYTES // row_bytes)
        return block, window_of(block, block * row_bytes, num_bytes)
    widest = max(chunked, key=lambda field: field.leaf.row_bytes)
    block = widest.chunk_rows * max(1, ORDER_BYTES // max(1, widest.block_bytes))
    # At worst a block touches a chunk of each other dataset for itself.
    need = sum(max(block * field.leaf.row_bytes, field.block_bytes) for field in chunked)
    return block, window_of(block, need, num_bytes)


def _told(fields: Sequence[Field]) -> str:
    return ", ".join(
        f"{field.name} {str(field.leaf.dtype).removeprefix('torch.')} {list(field.leaf.shape)}"
        for field in fields
    )
