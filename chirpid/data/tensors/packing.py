"""How a sample of fixed shape lies in a row of bytes: its leaves one after the other.

Leaves with large numbers come first. Sizes of numbers are powers of two, so every leaf then begins
where its numbers may begin, with no gaps between leaves, and a whole file of rows can be looked at
as columns without a copy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from chirpid.data.buffers import ThreadBuffers
from chirpid.data.general.columns import Columns, Layout, Leaf
from chirpid.data.tensors.row_copies import as_bytes, copy_rows
from chirpid.data.wrap.rows import Rows, located
from chirpid.types import IntArray

WHOLE_ROW_BYTES = 1024
"""Rows up to this size are gathered whole and then taken apart: one pass of the memory they lie
in, and the second in the cache. Larger ones are copied leaf by leaf."""
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}


class Packing:
    """Where the leaves of a layout lie in a row."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        sizes = [leaf.dtype.itemsize for leaf in layout.leaves]
        order = sorted(range(len(sizes)), key=lambda leaf: -sizes[leaf])
        ends = list(itertools.accumulate(layout.leaves[leaf].row_bytes for leaf in order))
        begins = dict(zip(order, [0, *ends], strict=False))
        self.offsets = tuple(begins[leaf] for leaf in range(len(sizes)))
        """First byte of each leaf."""
        unit = max(sizes)
        self.row_bytes = -(-ends[-1] // unit) * unit
        """Bytes of a row, such that all rows begin where the largest number may begin."""
        self.is_bare = len(sizes) == 1
        """Whether a row is nothing but one leaf."""

    def columns(self, rows: Tensor) -> Columns:
        """Return rows, uint8 [n, row_bytes], as columns in the same memory."""
        tensors = []
        for leaf, offset in zip(self.layout.leaves, self.offsets, strict=True):
            part = rows[:, offset : offset + leaf.row_bytes]
            if not part.numel():
                tensors.append(torch.empty((len(rows), *leaf.shape), dtype=leaf.dtype))
                continue
            strides = [self.row_bytes // leaf.dtype.itemsize, *_strides(leaf.shape)]
            tensors.append(part.view(leaf.dtype).as_strided((len(rows), *leaf.shape), strides))
        return Columns(self.layout.skeleton, tensors)

    def pack(self, columns: Columns, rows: Tensor) -> None:
        """Write columns into rows, uint8 [n, row_bytes]; what no leaf takes of them becomes 0."""
        rows[:, sum(leaf.row_bytes for leaf in self.layout.leaves) :] = 0
        for to, source in zip(self._words(rows), columns.tensors, strict=True):
            to.copy_(_flat(source.contiguous()))

    def unpack(
        self,
        rows: Tensor,
        out: Columns,
        ids: IntArray | None = None,
        places: IntArray | None = None,
    ) -> None:
        """Write rows, uint8 [n, row_bytes], into a batch.

        Args:
            ids: which of the rows; all in their order if not given.
            places: the rows of the batch that they go to, each once; the first ones if not given.
        """
        if self.is_bare:
            column = as_bytes(out.tensors[0], self.row_bytes)
            copy_rows(rows, column, ids, places)
            return
        for words, flat in zip(self._words(rows), map(_flat, out.tensors), strict=True):
            if ids is not None and places is None:
                torch.index_select(words, 0, torch.from_numpy(ids), out=flat[: len(ids)])
                continue
            picked = words.numpy() if ids is None else words.numpy()[ids]
            flat.numpy()[slice(len(picked)) if places is None else places] = picked

    def _words(self, rows: Tensor) -> list[Tensor]:
        """Return each leaf of rows as [n, k] words of the size of its numbers."""
        found = []
        for leaf, offset in zip(self.layout.leaves, self.offsets, strict=True):
            word = _WORDS[leaf.dtype.itemsize]
            part = rows[:, offset : offset + leaf.row_bytes]
            found.append(part.view(word) if part.numel() else _nothing(len(rows), leaf, word))
        return found


class PackedRows:
    """Rows in memory, or on a map of it, from which batches are taken. Threads may share it."""

    def __init__(self, packing: Packing, rows: Tensor) -> None:
        self.packing, self.rows = packing, rows
        self.columns = packing.columns(rows)
        self._whole = Rows(rows)
        self._buffers = ThreadBuffers()

    def into(self, ids: IntArray, out: Columns) -> None:
        """Write row `ids[i]` into row i of a batch.

        Raises:
            IndexError: an id is not that of a row.
        """
        ids, address = located(ids)
        if self.packing.is_bare:
            self._whole.into(ids, address, as_bytes(out.tensors[0], self.packing.row_bytes))
        elif self.packing.row_bytes <= WHOLE_ROW_BYTES:
            whole = self._buffers.take("rows", (len(ids), self.packing.row_bytes), torch.uint8)
            self._whole.into(ids, address, whole)
            self.packing.unpack(whole, out)
        else:
            self.packing.unpack(self.rows, out, ids)


def packed(layout: Layout, columns: Columns) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return columns as rows of bytes, [n, row_bytes]."""
    packing = Packing(layout)
    rows = torch.empty((len(columns), packing.row_bytes), dtype=torch.uint8)
    packing.pack(columns, rows)
    return rows.numpy()


def _flat(column: Tensor) -> Tensor:
    """Return a contiguous column as [n, k] words of the size of its numbers, in its memory."""
    numbers = column.view(len(column), math.prod(column.shape[1:]))
    return numbers.view(_WORDS[column.dtype.itemsize])


def _nothing(num_rows: int, leaf: Leaf, word: torch.dtype) -> Tensor:
    """Return the words of a leaf where no row or no number of it is."""
    words = leaf.row_bytes // word.itemsize
    return torch.empty((num_rows, words), dtype=word)


def _strides(shape: Sequence[int]) -> list[int]:
    """Return the strides of contiguous memory of a shape."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
