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
import threading
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chirpid.errors import StorageError
from chirpid.storage.atomic import storage_error, write_text
from chirpid.storage.building import build_once
from chirpid.storage.layout import MakeRows, RowLayout, is_of, read_layout, start_anew_unless
from chirpid.storage.locks import exclusive
from chirpid.storage.parallel import Progress, for_each

__all__ = [
    "MakeRows",
    "RowLayout",
    "build",
    "forget_chunks",
    "is_complete",
    "open_rows",
    "read_layout",
    "read_rows",
    "start_anew_unless",
    "verify",
]

_MARK = struct.Struct("<4sI")
_DONE = b"done"
_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter
_PIECE_BYTES = 2**20
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def is_complete(folder: Path, layout: RowLayout) -> bool:
    """Return whether `folder` holds a whole store of this layout."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        size = (folder / "rows.bin").stat().st_size
    except (OSError, ValueError):
        return False
    return is_of(meta, layout) and size == layout.num_bytes


def check_complete(folder: Path, layout: RowLayout) -> None:
    """Refuse a store that is not whole.

    Raises:
        StorageError: it is not, or is of another layout.
    """
    if not is_complete(folder, layout):
        raise StorageError(f"{folder} is not a whole store. Run again to build what is missing.")


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
        about: what the store holds, for people. Written to `meta.json` at the end, with what
            `make` has added to it.
        say: told when another process is building the same store.
    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """

    def work() -> None:
        start_anew_unless(folder, layout, patterns=("*.bin",), whole="meta.json")
        _build_locked(folder, layout, make, num_threads, progress)
        meta = {"layout": asdict(layout), "about": about}
        write_text(folder / "meta.json", json.dumps(meta, indent=1))

    build_once(folder, is_whole=lambda: is_complete(folder, layout), work=work, say=say)


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

        # Of each thread, for all its chunks: the C library does not reuse what was aligned, and
        # a build would take ten times as much.
        buffers = threading.local()

        def work(chunk: int) -> None:
            first, end = layout.span(chunk)
            if not hasattr(buffers, "rows"):
                rows_at_once = min(layout.chunk_rows, layout.num_rows)
                buffers.rows = torch.empty((rows_at_once, *layout.shape), dtype=layout.torch_dtype)
            kept = buffers.rows[: end - first]
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
    check_complete(folder, layout)
    if layout.num_bytes == 0:  # nothing can be mapped
        return torch.empty((layout.num_rows, *layout.shape), dtype=layout.torch_dtype)
    # A copy-on-write map: pages are shared between processes, and a stray write stays private.
    mapped = np.memmap(folder / "rows.bin", dtype=np.uint8, mode="c")
    return torch.from_numpy(mapped).view(layout.torch_dtype).view(layout.num_rows, *layout.shape)


def read_rows(
    folder: Path,
    layout: RowLayout,
    rows: Tensor,
    *,
    num_threads: int = 1,
    progress: Progress | None = None,
) -> None:
    """Read all rows into `rows` [N, *shape], comparing them with their checksums.

    Args:
        progress: told of rows.
    Raises:
        StorageError: the store is not whole, or damaged.
    """
    check_complete(folder, layout)
    if layout.num_bytes == 0:
        return
    data = memoryview(rows.numpy().view(np.uint8).reshape(-1))  # type: ignore[arg-type]
    with open(folder / "rows.bin", "rb") as file, open(folder / "chunks.bin", "rb") as marks:

        def read(chunk: int) -> None:
            begin, end = (row * layout.row_bytes for row in layout.span(chunk))
            at = begin
            while at < end and (count := os.preadv(file.fileno(), [data[at:end]], at)):
                at += count
            if _checksum(marks.fileno(), chunk) != zlib.crc32(data[begin:end]):
                raise StorageError(
                    f"{folder} is damaged. See what with: chirpid cache verify {folder.name}"
                )

        for_each(read, range(layout.num_chunks), num_threads=num_threads,
                 progress=_offset(progress, layout, list(range(layout.num_chunks))))  # fmt: skip


def verify(
    folder: Path, layout: RowLayout, *, num_threads: int = 1, progress: Progress | None = None
) -> list[int]:
    """Return the chunks whose rows do not have the checksum they were written with.

    Args:
        progress: told of chunks.
    Raises:
        StorageError: the files cannot be read at all.
    """
    bad: list[int] = []
    try:
        with open(folder / "rows.bin", "rb") as rows, open(folder / "chunks.bin", "rb") as marks:

            def check(chunk: int) -> None:
                if _checksum(marks.fileno(), chunk) != _crc_of(rows.fileno(), layout, chunk):
                    bad.append(chunk)

            chunks = range(layout.num_chunks)
            for_each(check, chunks, num_threads=num_threads, progress=progress)
    except OSError as error:
        where = error.filename or folder
        raise StorageError(f"Cannot read {where}: {error.strerror}.") from error
    return sorted(bad)


def _crc_of(rows: int, layout: RowLayout, chunk: int) -> int:
    """Return the checksum of the rows that are there, read in pieces that stay in the cache."""
    first, end = (row * layout.row_bytes for row in layout.span(chunk))
    crc = 0
    while first < end and (data := os.pread(rows, min(end - first, _PIECE_BYTES), first)):
        crc, first = zlib.crc32(data, crc), first + len(data)
    return crc


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
