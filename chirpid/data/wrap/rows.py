"""Rows of one tensor by their ids, of any number type and shape, copied bit by bit."""

from __future__ import annotations

import ctypes
import functools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid import native
from chirpid.data.datasets.base import as_ids
from chirpid.native.gather import RowGather, check_within
from chirpid.types import IntArray

Address = Any
"""An array of ctypes, which a native call takes as the address of what it was made from."""
_NO_NUMBERS: Any = ctypes.c_int64 * 0
_INT64 = np.dtype(np.int64)
_WORD_BYTES = 4
_SHARED_WORDS = 2**17
"""The native library shares the work of so many words or more among threads."""
_ONE_NUMBER = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def located(ids: IntArray) -> tuple[IntArray, Address]:
    """Return ids as the copying takes them, and their address, good while both are held."""
    # `ids.ctypes.data`, numpy's own, takes a third of the time of a small batch.
    if ids.dtype == _INT64:
        try:
            return ids, _NO_NUMBERS.from_buffer(ids)
        except (TypeError, ValueError):  # read-only, or not contiguous
            pass
    ids = as_ids(ids)
    return ids, _NO_NUMBERS.from_buffer(ids)


class Rows:
    """Rows of one tensor [N, *shape] on the CPU. May be used by many threads at once."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self._dtype, self._num_rows = rows.dtype, rows.shape[0]
        self._row_bytes = rows.dtype.itemsize * math.prod(rows.shape[1:])
        self._row_words = self._row_bytes // _WORD_BYTES
        self._prepare()

    def _prepare(self) -> None:
        self._copy: Callable[..., int] | None = None
        self._bytes: np.ndarray[Any, Any] | None = None
        address = self.rows.data_ptr()
        if self.rows.is_contiguous() and self._row_bytes:
            whole_words = not (self._row_bytes % _WORD_BYTES or address % _WORD_BYTES)
            if whole_words and native.handle() is not None:
                words = Words(address, num_rows=self._num_rows, row_words=self._row_words)
                self._words, self._copy = words, words.copy
            else:
                self._bytes = as_bytes(self.rows, self._row_bytes)
        self._address = address  # last: another thread may be reading

    def into(self, ids: IntArray, address: Address, out: Tensor) -> None:
        """Write row `ids[i]` into row i of `out`.

        Args:
            ids: int64 [B] as `located` returns them, with their address; may repeat.
            out: [at least B, *shape], of the type of the rows.

        Raises:
            IndexError: an id is not that of a row.
        """
        # A tensor that is sent to a worker process moves to shared memory, under its holders too.
        if self.rows.data_ptr() != self._address:
            self._prepare()
        num_ids = len(ids)
        if not (out.dtype is self._dtype and out.is_contiguous() and out.is_cpu):
            check_within(ids, self._num_rows, "id", "samples")
            out[:num_ids].copy_(self.rows[torch.from_numpy(ids)])
        elif (copy := self._copy) is not None:
            num_out, num_threads = out.nbytes // self._row_bytes, 1
            if num_ids * self._row_words >= _SHARED_WORDS:
                num_threads = _num_threads()
            if copy(address, None, num_ids, out.data_ptr(), num_out, num_threads):
                check_within(ids, self._num_rows, "id", "samples")
                check_within(np.arange(num_ids), num_out, "place", "places")
        else:
            check_within(ids, self._num_rows, "id", "samples")
            self._without_library(ids, out[:num_ids])

    def _without_library(self, ids: IntArray, out: Tensor) -> None:
        if self._bytes is None:
            torch.index_select(self.rows, 0, torch.from_numpy(ids), out=out)
        else:
            # Without "clip" numpy would go through a copy.
            np.take(self._bytes, ids, axis=0, out=as_bytes(out, self._row_bytes), mode="clip")

    def into_places(self, ids: IntArray, out: Tensor, places: IntArray) -> None:
        """Write row `ids[i]` into row `places[i]` of `out`. Both are known to be within."""
        if (copy := self._copy) is not None and out.is_contiguous():
            (ids, at), (places, to) = located(ids), located(places)
            copy(at, to, len(ids), out.data_ptr(), out.shape[0], 1)
        elif self._bytes is not None and out.is_contiguous():
            as_bytes(out, self._row_bytes)[places] = self._bytes[ids]
        else:
            out[torch.from_numpy(places)] = self.rows[torch.from_numpy(ids)]


class Words(RowGather):
    """Rows of words of 4 bytes, which the library takes for float32 and copies as they are.

    `copy` takes the addresses of ids and places (or None), their number, the address of a batch,
    its rows and a number of threads. It returns 0; or another number, with nothing written, if an
    id is not that of a row, or a place not one of the batch.
    """

    def __init__(self, address: int, *, num_rows: int, row_words: int) -> None:
        super().__init__(address, num_rows=num_rows, row_numbers=row_words, kind="float32")
        # Without a frame of Python: small batches notice.
        self.copy = functools.partial(self._call, self._at)


def as_bytes(rows: Tensor, row_bytes: int) -> np.ndarray[Any, Any]:
    """Return the memory of contiguous rows as an array of bytes [N, row_bytes], or of numbers."""
    # A single row is contiguous whatever its strides are, and torch's view minds them.
    flat = rows.as_strided((rows.numel(),), (1,)).view(torch.uint8).numpy()
    if row_bytes in _ONE_NUMBER:
        return flat.view(_ONE_NUMBER[row_bytes])
    return flat.reshape(len(rows), row_bytes)


def _num_threads() -> int:
    """Return how many threads share a large batch: other threads are at work beside each other."""
    in_main = threading.current_thread() is threading.main_thread()
    return torch.get_num_threads() if in_main else 1
