"""Open HDF5 files of one process, and rows read from them."""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.hdf5.fields import FAILURES, Field, h5py
from chirpid.errors import DataError

MOST_FILES = 16
"""Files that are open at a time."""


class OpenFiles:
    """The files that this process has open, those used last.

    A handle of the parent is of no use after a fork: HDF5 would give the child the file as the
    parent has it, with whatever the parent was doing. So they are closed there and opened anew.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._begin()

    def _begin(self) -> None:
        self.lock = threading.RLock()
        """To be held while a dataset is in use; HDF5 does one thing at a time anyway."""
        self._files: OrderedDict[int, Any] = OrderedDict()
        self._datasets: dict[tuple[int, str], Any] = {}
        self._pid = os.getpid()  # last: whoever finds it finds the rest

    def dataset(self, number: int, name: str) -> Any:
        """Return a dataset of file `number`; call it with the lock held.

        Raises:
            DataError: the file is not there, or no HDF5 file that can be read.
        """
        found = self._datasets.get((number, name))
        if found is None:
            found = self._datasets[number, name] = self._file(number)[name]
        self._files.move_to_end(number)
        return found

    def _file(self, number: int) -> Any:
        file = self._files.get(number)
        if file is None:
            while len(self._files) >= MOST_FILES:
                self._close(*self._files.popitem(last=False))
            file = self._files[number] = open_file(self.paths[number])
        return file

    def of_this_process(self) -> OpenFiles:
        """Return itself, with nothing open that a parent opened."""
        if self._pid != os.getpid():
            inherited = list(self._files.items())
            self._begin()  # with a lock that no thread of the parent holds
            for number, file in inherited:
                self._close(number, file)
        return self

    def _close(self, number: int, file: Any) -> None:
        self._datasets = {key: item for key, item in self._datasets.items() if key[0] != number}
        file.close()

    def close(self) -> None:
        """Close all files."""
        with self.of_this_process().lock:
            while self._files:
                self._close(*self._files.popitem())


def open_file(path: Path) -> Any:
    """Return an open file, to be read.

    Raises:
        DataError: it is not there, or no HDF5 file that can be read.
    """
    try:
        # No cache of chunks in HDF5: they are read whole, and kept here while they are in use.
        # Locks where there are any: file systems without could not be read from otherwise.
        return h5py().File(path, "r", rdcc_nbytes=0, locking="best-effort")
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except FAILURES as error:
        raise DataError(
            f"{path} cannot be opened as an HDF5 file: {reason(error)}. It is of another kind, or "
            "was cut short or damaged."
        ) from error


def reason(error: BaseException) -> str:
    """Return what HDF5 says is wrong, without the names of its functions."""
    text = str(error).strip("'\"")
    inner = re.search(r"\((.+)\)$", text)
    return (inner[1] if inner else text) or type(error).__name__


def read_rows(
    files: OpenFiles, number: int, field: Field, first: int, end: int, to: Tensor
) -> None:
    """Read the rows first..end-1 of a field into contiguous memory.

    Raises:
        OSError, and others of `FAILURES`: they cannot be read.
    """
    if not to.numel():
        return
    array = to.numpy()
    if field.is_plain and first % field.chunk_rows == 0 and end - first <= field.chunk_rows:
        packed = _packed(files, number, field, first)
        if packed is not None:
            _unpack(packed, field, array)
            return
    with files.of_this_process().lock:
        item = files.dataset(number, field.name)
        item.read_direct(array, np.s_[first:end], np.s_[0 : end - first])


def _packed(files: OpenFiles, number: int, field: Field, first: int) -> bytes | None:
    """Return a chunk as it lies in the file; None if it does not, or was packed in another way."""
    with files.of_this_process().lock:
        item = files.dataset(number, field.name)
        origin = (first, *(0 for _ in field.leaf.shape))
        try:
            mask, packed = item.id.read_direct_chunk(origin)
        except FAILURES:
            return None  # nothing was written there, or HDF5 has its own word on what is wrong
        return None if mask else bytes(packed)


def _unpack(packed: bytes, field: Field, rows: np.ndarray[Any, Any]) -> None:
    """Unpack a chunk as HDF5 would: without its lock, and with the GIL released."""
    size = field.leaf.dtype.itemsize
    try:
        data = np.frombuffer(zlib.decompress(packed, bufsize=field.block_bytes), np.uint8)
    except zlib.error as error:
        raise OSError(f"inflate() failed: {error}") from error
    if len(data) != field.block_bytes:
        raise OSError(f"a chunk unpacks to {len(data)} of {field.block_bytes} bytes")
    if field.is_shuffled and size > 1:
        data = np.ascontiguousarray(data.reshape(size, -1).T).reshape(-1)
    to = rows.reshape(-1).view(np.uint8)
    to[:] = data[: len(to)]


def mapped(path: Path, field: Field) -> Tensor:
    """Return rows that lie in a file as they are, as bytes on a map of it, uint8 [N, row_bytes].

    Bytes, since numbers may begin anywhere in the file.

    Raises:
        DataError: the file is not there any more.
    """
    shape = (field.num_rows, field.leaf.row_bytes)
    try:
        # Copy on write: pages are shared between processes, and a stray write stays private.
        data = np.memmap(path, np.uint8, "c", offset=field.offset, shape=shape)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    return torch.from_numpy(data)
