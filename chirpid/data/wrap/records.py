"""Files of records of one size, as other programs write them, read past the page cache."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from chirpid.data.general.columns import Columns, Layout, layout_of
from chirpid.data.general.items import BatchItems
from chirpid.data.general.trees import Tree
from chirpid.data.wrap.filling import no_numbers
from chirpid.errors import DataError
from chirpid.storage.direct import DirectRows, NoDirectError
from chirpid.storage.layout import RowLayout
from chirpid.types import IntArray


class RecordFile(BatchItems):
    """A file of records without a header: the numbers of each sample, one leaf after the other.

    Args:
        sample: what a record is: a layout, or a sample to take it from.
        direct: read past the page cache, for files larger than RAM, whose pages would drive out
            one another and those of other programs. Where the file system has no such reads, a
            line says so, and the file is mapped.
        say: told what is not done as asked; by default a warning.

    Raises:
        DataError: there is no such file, it is no whole number of records, or the sample holds
            what is no number.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        path: str | Path,
        sample: Layout | Tree,
        *,
        direct: bool = True,
        say: Callable[[str], Any] | None = None,
    ) -> None:
        layout = sample if isinstance(sample, Layout) else layout_of([sample])
        if layout is None:
            raise DataError(f"Records hold numbers, and {no_numbers(sample)}. Leave it out.")
        self.path, self.layout, self._direct = Path(path), layout, direct
        self._say = say or warnings.warn
        self._num_rows = self._count()
        self.block_rows, self.window_rows = 1, max(1, self._num_rows)
        self._reader: DirectRows | Tensor | None = None
        self._pid = -1
        self._open()  # what cannot be read is told now

    def _count(self) -> int:
        if not self.path.is_file():
            raise DataError(f"There is no file {self.path}. Check the path.")
        size, row = self.path.stat().st_size, self.layout.batch_row_bytes
        if not row or size % row:
            raise DataError(
                f"{self.path} has {size} bytes, which is no whole number of records of {row} "
                "bytes. Check the sample that says what a record is; headers are not read."
            )
        return size // row

    def _open(self) -> DirectRows | Tensor:
        # Threads and the memory that requests go through do not survive fork.
        if self._reader is None or self._pid != os.getpid():
            self.close()
            self._reader, self._pid = self._opened(), os.getpid()
        return self._reader

    def _opened(self) -> DirectRows | Tensor:
        shape = (self.layout.batch_row_bytes,)
        if self._direct and self._num_rows:
            layout = RowLayout(self._num_rows, shape, "uint8", chunk_rows=self._num_rows)
            try:
                return DirectRows(self.path, layout)
            except NoDirectError as error:
                self._direct = False
                self._say(f"direct=True -> plain reads: {error}")
        if not self._num_rows:  # nothing can be mapped
            return torch.empty(0, *shape, dtype=torch.uint8)
        mapped = np.memmap(self.path, np.uint8, mode="c").reshape(self._num_rows, *shape)
        return torch.from_numpy(mapped)

    @property
    def is_direct(self) -> bool:
        """Whether reads go past the page cache."""
        return self._direct

    def __len__(self) -> int:
        return self._num_rows

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write record `ids[i]` into row i of `out`, which has as many rows as there are ids.

        Raises:
            IndexError: an id is not that of a record.
            StorageError: the disk fails, or the file is shorter than it was.
        """
        ids, reader = self._checked(ids), self._open()
        columns = [_as_bytes(tensor) for tensor in out.tensors]

        def fill(rows: Tensor, which: IntArray, places: IntArray) -> None:
            records, at = rows.numpy(), 0
            for column in columns:
                end = at + column.shape[1]
                column[places] = records[which, at:end]
                at = end

        if isinstance(reader, DirectRows):
            reader.read(ids, fill)
        else:
            fill(reader, ids, np.arange(len(ids)))

    def fingerprint(self) -> str:
        """Return a text that changes with the file."""
        stat = self.path.stat()
        return f"{self.path.resolve()} {stat.st_size} {stat.st_mtime_ns} {self.layout.leaves}"

    def close(self) -> None:
        """Release the file; reading opens it again."""
        if isinstance(self._reader, DirectRows):
            self._reader.close()
        self._reader = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None, "_pid": -1, "_say": warnings.warn}


def _as_bytes(tensor: Tensor) -> Any:
    """Return the memory of a column as uint8 [rows, bytes of a row]."""
    return tensor.view(-1).view(torch.uint8).view(tensor.shape[0], -1).numpy()
