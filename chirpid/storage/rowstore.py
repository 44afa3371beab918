"""Rows of equal size in one file that any number of processes map, built in chunks.

A folder holds `layout.json`, `rows.bin`, `chunks.bin` (8 bytes a chunk: mark and CRC-32, written
after the chunk's rows are on the disk) and, once whole, `meta.json`. A build that is killed goes on
where it stopped; a second builder waits for the first and finds the work done.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from chirpid.errors import StorageError
from chirpid.storage.atomic import remove_leftovers, storage_error, write_text
from chirpid.storage.locks import exclusive
from chirpid.storage.parallel import Progress, for_each

VERSION = 1
_MARK = struct.Struct("<4sI")
_DONE = b"done"
_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)

MakeRows = Callable[[int, int, Tensor], None]
"""Called with (first row, end row, kept rows [n, *shape] to fill)."""


@dataclass(frozen=True, slots=True)
class RowLayout:
    """How the rows of a store lie in its file."""

    num_rows: int
    shape: tuple[int, ...]
    dtype: str
    """Name of a torch number type, such as "float16"."""
    chunk_rows: int
    version: int = VERSION

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype = getattr(torch, self.dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.torch_dtype.itemsize

    @property
    def num_bytes(self) -> int:
        return self.num_rows * self.row_bytes

    @property
    def num_chunks(self) -> int:
        return -(-self.num_rows // self.chunk_rows)

    def span(self, chunk: int) -> tuple[int, int]:
        """Return (first row, end row) of a chunk."""
        first = chunk * self.chunk_rows
        return first, min(first + self.chunk_rows, self.num_rows)


def is_complete(folder: Path, layout: RowLayout) -> bool:
    """Return whether `folder` holds a whole store of this layout."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        size = (folder / "rows.bin").stat().st_size
    except (OSError, ValueError):
        return False
    return _is_of(meta, layout) and size == layout.num_bytes


def _is_of(found: object, layout: RowLayout) -> bool:
    wanted = json.loads(json.dumps(asdict(layout)))
    return isinstance(found, dict) and found.get("layout") == wanted


def start_anew_unless(
    folder: Path, layout: RowLayout, *, patterns: tuple[str, ...], whole: str
) -> None:
    """Drop what `folder` holds of another layout; its chunks would pass for those of this one.

    Args:
        patterns: the files that hold rows.
        whole: the file that only a whole store has.
    """
    plan = folder / "layout.json"
    try:
        same = _is_of(json.loads(plan.read_text()), layout)
    except (OSError, ValueError):
        same = False
    if same:
        return
    (folder / whole).unlink(missing_ok=True)
    for pattern in patterns:
        for file in folder.glob(pattern):
            # Removed, not emptied: a process may still have the old rows mapped.
            file.unlink(missing_ok=True)
    write_text(plan, json.dumps({"layout": asdict(layout)}, indent=1))


def build(
    folder: Path,
    layout: RowLayout,
    make: MakeRows,
    *,
    about: dict[str, object],
    num_threads: int,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Make sure that `folder` holds the whole store.

    Args:
        about: what the store holds, kept in `meta.json` for people.
        say: told when another process is building the same store.
    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    if is_complete(folder, layout):
        return

    def waiting() -> None:
        if say:
            say(f"another process is building {folder.name}; waiting for it")

    try:
        with exclusive(folder / "build.lock", on_wait=waiting):
            if not is_complete(folder, layout):
                start_anew_unless(folder, layout, patterns=("*.bin",), whole="meta.json")
                remove_leftovers(folder)
                _build_locked(folder, layout, make, num_threads, progress)
                meta = {"layout": asdict(layout), "about": about}
                write_text(folder / "meta.json", json.dumps(meta, indent=1))
    except OSError as error:
        raise storage_error(error, folder) from error


def _build_locked(
    folder: Path,
    layout: RowLayout,
    make: MakeRows,
    num_threads: int,
    progress: Progress | None,
) -> None:
    rows = os.open(folder / "rows.bin", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    marks = os.open(folder / "chunks.bin", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _forget_what_was_cut(rows, marks, layout)
        _take_space(rows, layout.num_bytes)

        def work(chunk: int) -> None:
            first, end = layout.span(chunk)
            kept = torch.empty((end - first, *layout.shape), dtype=layout.torch_dtype)
            make(first, end, kept)
            data = kept.numpy().view(np.uint8).reshape(-1).data
            _write_at(rows, data, first * layout.row_bytes)
            _sync_data(rows)
            _write_at(marks, memoryview(_MARK.pack(_DONE, zlib.crc32(data))), chunk * _MARK.size)

        todo = [c for c in range(layout.num_chunks) if _checksum(marks, c) is None]
        for_each(work, todo, num_threads=num_threads, progress=_offset(progress, layout, todo))
        os.fsync(marks)
    finally:
        os.close(rows)
        os.close(marks)


def _forget_what_was_cut(rows: int, marks: int, layout: RowLayout) -> None:
    """Take back the marks of chunks beyond the end of the rows' file.

    It has its whole size before any chunk: a shorter one was cut, and would be grown with zeros.
    """
    size = os.fstat(rows).st_size
    lost = [c for c in range(layout.num_chunks) if layout.span(c)[1] * layout.row_bytes > size]
    for chunk in lost:
        if _checksum(marks, chunk) is not None:
            _write_at(marks, memoryview(bytes(_MARK.size)), chunk * _MARK.size)
    if lost:
        os.fsync(marks)


def _take_space(handle: int, num_bytes: int) -> None:
    """Give the file its size and its space: a full disk is found before hours of decoding."""
    before = os.fstat(handle).st_size
    if num_bytes and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, num_bytes)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, before)  # what was had of the space is given back
                raise
    os.ftruncate(handle, num_bytes)


def _offset(progress: Progress | None, layout: RowLayout, todo: list[int]) -> Progress | None:
    if progress is None:
        return None
    before = layout.num_chunks - len(todo)
    return lambda done, _total: progress(
        min((before + done) * layout.chunk_rows, layout.num_rows), layout.num_rows
    )


def _write_at(handle: int, data: memoryview, offset: int) -> None:
    while len(data):
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def _checksum(marks: int, chunk: int) -> int | None:
    record = os.pread(marks, _MARK.size, chunk * _MARK.size)
    if len(record) < _MARK.size or record[:4] != _DONE:
        return None
    return int(_MARK.unpack(record)[1])


def open_rows(folder: Path, layout: RowLayout) -> Tensor:
    """Return the rows as a tensor [N, *shape] on a shared memory map. Do not write to it.

    Raises:
        StorageError: the store is not whole.
    """
    if not is_complete(folder, layout):
        raise StorageError(f"{folder} is not a whole store. Run again to build what is missing.")
    if layout.num_bytes == 0:  # nothing can be mapped
        return torch.empty((layout.num_rows, *layout.shape), dtype=layout.torch_dtype)
    # A copy-on-write map: pages are shared between processes, and a stray write stays private.
    mapped = np.memmap(folder / "rows.bin", dtype=np.uint8, mode="c")
    return torch.from_numpy(mapped).view(layout.torch_dtype).view(layout.num_rows, *layout.shape)


def verify(folder: Path, layout: RowLayout) -> list[int]:
    """Return the chunks whose rows do not have the checksum they were written with.

    Raises:
        StorageError: the files cannot be read at all.
    """
    try:
        with open(folder / "rows.bin", "rb") as rows, open(folder / "chunks.bin", "rb") as marks:
            return [
                chunk
                for chunk in range(layout.num_chunks)
                if _checksum(marks.fileno(), chunk) != _crc_of(rows, layout, chunk)
            ]
    except OSError as error:
        raise StorageError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error


def _crc_of(rows: IO[bytes], layout: RowLayout, chunk: int) -> int:
    first, end = layout.span(chunk)
    rows.seek(first * layout.row_bytes)
    return zlib.crc32(rows.read((end - first) * layout.row_bytes))


def forget_chunks(folder: Path, chunks: list[int]) -> None:
    """Mark chunks as not built, so that the next build makes them again.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        with exclusive(folder / "build.lock"):
            (folder / "meta.json").unlink(missing_ok=True)
            marks = os.open(folder / "chunks.bin", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                for chunk in chunks:
                    _write_at(marks, memoryview(bytes(_MARK.size)), chunk * _MARK.size)
                os.fsync(marks)
            finally:
                os.close(marks)
    except OSError as error:
        raise storage_error(error, folder) from error


def read_layout(folder: Path, whole: str = "meta.json") -> RowLayout | None:
    """Return the layout of a whole store, or None.

    Args:
        whole: the file that only a whole store has.
    """
    try:
        fields = json.loads((folder / whole).read_text())["layout"]
        return RowLayout(**{**fields, "shape": tuple(fields["shape"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
