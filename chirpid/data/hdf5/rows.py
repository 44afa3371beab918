"""Rows of one dataset of an HDF5 file, by their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from chirpid.data.general.bad_rows import BadRows
from chirpid.data.hdf5.fields import FAILURES, Field
from chirpid.data.hdf5.files import OpenFiles, mapped, read_rows, reason
from chirpid.data.tensors.kept_blocks import KeptBlocks
from chirpid.data.tensors.row_copies import as_bytes, copy_rows
from chirpid.data.wrap.rows import Rows, located
from chirpid.errors import DataError
from chirpid.storage.pages import runs_of
from chirpid.types import IntArray


class FieldRows(Protocol):
    """Rows of a field."""

    def into(self, rows: IntArray, out: Tensor, places: IntArray | None) -> None:
        """Write row `rows[i]` into row `places[i]` of a batch, or into its row i."""


class MappedField:
    """Rows that lie in the file as they are: nothing but a copy, and no HDF5."""

    def __init__(self, files: OpenFiles, number: int, field: Field) -> None:
        self._field = field
        self._rows = Rows(mapped(files.paths[number], field))

    def into(self, rows: IntArray, out: Tensor, places: IntArray | None) -> None:
        rows, address = located(rows)
        to = as_bytes(out, self._field.leaf.row_bytes)
        if places is None:
            self._rows.into(rows, address, to)
            return
        copy_rows(self._rows.rows, to, rows, places)


class ChunkedField:
    """Rows in chunks, of which each is read whole, and kept while it is in use."""

    def __init__(self, files: OpenFiles, number: int, field: Field, blocks: KeptBlocks) -> None:
        self._files, self._number, self._field, self._blocks = files, number, field, blocks

    def into(self, rows: IntArray, out: Tensor, places: IntArray | None) -> None:
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        places = order if places is None else places[order]
        pieces = list(self._pieces(wanted))
        # Those that are kept come first, before reading others drives them out.
        for first, end in sorted(pieces, key=lambda piece: self._key(piece[0]) not in self._blocks):
            part = slice(*np.searchsorted(wanted, (first, end)).tolist())
            self._piece(first, end, wanted[part], out, places[part])

    def _pieces(self, wanted: IntArray) -> Iterator[tuple[int, int]]:
        """Yield (first, end) of what is to be read: chunks, or runs of rows that are chunks."""
        size, num_rows = self._field.chunk_rows, self._field.num_rows
        if size == 1:
            yield from runs_of(wanted)
            return
        for block in np.unique(wanted // size).tolist():
            yield block * size, min((block + 1) * size, num_rows)

    def _piece(self, first: int, end: int, wanted: IntArray, out: Tensor, places: IntArray) -> None:
        count, to = end - first, int(places[0])
        is_whole = len(wanted) == count and _is_run(wanted) and _is_run(places)
        if is_whole and self._key(first) not in self._blocks:
            self.read(first, end, out[to : to + count])
            self._blocks.num_reads += count if self._field.chunk_rows == 1 else 1
            return
        if self._field.chunk_rows == 1:
            block = self._new(first, end)
            self._blocks.num_reads += count
        else:
            block = self._blocks.get(self._key(first), lambda: self._new(first, end))
        row_bytes = self._field.leaf.row_bytes
        copy_rows(as_bytes(block, row_bytes), as_bytes(out, row_bytes), wanted - first, places)

    def _key(self, first: int) -> tuple[int, str, int]:
        return self._number, self._field.name, first

    def _new(self, first: int, end: int) -> Tensor:
        leaf = self._field.leaf
        block = torch.empty((end - first, *leaf.shape), dtype=leaf.dtype)
        self.read(first, end, block)
        return block

    def read(self, first: int, end: int, to: Tensor) -> None:
        """Read rows into contiguous memory.

        Raises:
            DataError: they cannot be read; names them.
        """
        bad = self.try_read(first, end, to)
        if bad is not None:
            raise DataError(
                f"Cannot read {bad}. Write the file again, or leave such rows out with "
                "on_bad='skip'."
            )

    def try_read(self, first: int, end: int, to: Tensor) -> BadRows | None:
        """Read rows into contiguous memory, and return what cannot be read of them, and why.

        Raises:
            DataError: the file cannot be opened any more.
        """
        try:
            read_rows(self._files, self._number, self._field, first, end, to)
        except DataError:
            raise
        except FAILURES as error:
            path = self._files.paths[self._number]
            return BadRows(path, first, end, reason(error), self._field.name)
        return None


def _is_run(numbers: IntArray) -> bool:
    return bool(numbers[-1] - numbers[0] == len(numbers) - 1 and (np.diff(numbers) == 1).all())
