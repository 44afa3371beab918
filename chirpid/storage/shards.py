"""Rows in files that are read from start to end: a header, the rows, a checksum for each of them.

The header holds the CRC-32 of the row checksums, so that one number stands for the whole shard and
yet a single row can be checked without reading the others. Each shard is written under another name
and renamed when it is whole, so that a shard that exists is a shard that can be read.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chirpid.errors import StorageError
from chirpid.storage import rowstore
from chirpid.storage.atomic import replacing, storage_error, write_text
from chirpid.storage.building import build_once
from chirpid.storage.layout import MakeRows, RowLayout, start_anew_unless
from chirpid.storage.locks import exclusive
from chirpid.storage.parallel import Progress, for_each

Bytes = npt.NDArray[np.uint8]

HEADER = struct.Struct("<8sIQI40x")
_MAGIC = b"CHIRPSH2"
_CHECKSUM = np.dtype("<u4")


def shard_name(shard: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{shard:05d}.bin"


def shard_path(folder: Path, shard: int) -> Path:
    """Return the file of a shard."""
    return folder / shard_name(shard)


def shard_bytes(layout: RowLayout, shard: int) -> int:
    """Return the size of a shard's file."""
    first, end = layout.span(shard)
    return HEADER.size + (end - first) * (layout.row_bytes + _CHECKSUM.itemsize)


def make_shard(layout: RowLayout, shard: int, make: MakeRows) -> Bytes:
    """Return the bytes of a shard, the same for the same rows."""
    first, end = layout.span(shard)
    data = np.zeros(shard_bytes(layout, shard), dtype=np.uint8)
    rows, checksums = _parts(data, end - first, layout.row_bytes)
    kept = torch.from_numpy(rows.reshape(-1)).view(layout.torch_dtype)
    make(first, end, kept.view(end - first, *layout.shape))
    checksums[:] = [zlib.crc32(row.data) for row in rows]
    data[: HEADER.size] = np.frombuffer(
        HEADER.pack(_MAGIC, end - first, rows.nbytes, zlib.crc32(checksums.tobytes())), np.uint8
    )
    return data


def shard_checksum(header: bytes, layout: RowLayout, shard: int) -> int | None:
    """Return the CRC that the header of a shard holds, or None if it is not one of this layout."""
    first, end = layout.span(shard)
    if len(header) < HEADER.size:
        return None
    *_, checksum = HEADER.unpack(header[: HEADER.size])
    wanted = HEADER.pack(_MAGIC, end - first, (end - first) * layout.row_bytes, int(checksum))
    return int(checksum) if header[: HEADER.size] == wanted else None


def find_damage(data: Bytes, layout: RowLayout, shard: int, checksum: int | None) -> str:
    """Return what is wrong with the bytes of a shard, or "".

    Args:
        checksum: the CRC that it must have; None takes that of its header.
    """
    first, end = layout.span(shard)
    if fault := _find_damage_outside_rows(data, layout, shard, checksum):
        return fault
    rows, checksums = _parts(data, end - first, layout.row_bytes)
    bad = [r for r, row in enumerate(rows) if zlib.crc32(row.data) != checksums[r]]
    return f"damaged at segment {first + bad[0]}" if bad else ""


def _find_damage_outside_rows(
    data: Bytes, layout: RowLayout, shard: int, checksum: int | None
) -> str:
    first, end = layout.span(shard)
    wanted = shard_bytes(layout, shard)
    if len(data) != wanted:
        return f"{'cut short' if len(data) < wanted else 'damaged'}: {len(data)} of {wanted} bytes"
    found = shard_checksum(data[: HEADER.size].tobytes(), layout, shard)
    _, checksums = _parts(data, end - first, layout.row_bytes)
    if found is None or zlib.crc32(checksums.tobytes()) != found:
        return "damaged"
    if checksum is not None and checksum != found:
        return "damaged, or a shard of another set"
    return ""


def _parts(data: Bytes, num_rows: int, row_bytes: int) -> tuple[Bytes, npt.NDArray[np.uint32]]:
    """Return the rows [n, row_bytes] and their checksums [n]."""
    end = HEADER.size + num_rows * row_bytes
    rows = data[HEADER.size : end].reshape(num_rows, row_bytes)
    return rows, data[end:].view(_CHECKSUM)


class ShardMap:
    """A shard on a memory map: pages are shared between processes, and read when they are needed.

    Args:
        checksum: the CRC that the shard must have; None takes that of its header.
    Raises:
        OSError: it cannot be opened.
        ValueError: it is damaged; says how.
    """

    def __init__(
        self, path: Path, layout: RowLayout, shard: int, checksum: int | None = None
    ) -> None:
        self.first, end = layout.span(shard)
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(handle).st_size
            # Copy on write: a stray write stays private. An empty file cannot be mapped.
            data = (
                np.frombuffer(mmap.mmap(handle, size, access=mmap.ACCESS_COPY), np.uint8)
                if size
                else np.empty(0, np.uint8)
            )
        finally:
            os.close(handle)
        if fault := _find_damage_outside_rows(data, layout, shard, checksum):
            raise ValueError(fault)
        self._rows, self._checksums = _parts(data, end - self.first, layout.row_bytes)
        self._checked = np.zeros(end - self.first, dtype=np.bool_)
        self.rows = (
            torch.from_numpy(self._rows.reshape(-1))
            .view(layout.torch_dtype)
            .view(end - self.first, *layout.shape)
        )
        """As kept, [n, *shape]. Not checked: call `check` for the rows that are taken."""
        self.reader: Any = None
        """What takes rows from here, made by whoever does; it goes with the map."""

    def check(self, rows: npt.NDArray[np.int64]) -> None:
        """Compare rows with their checksums, each once.

        Raises:
            ValueError: one differs; says which segment.
        """
        if self._checked[rows].all():
            return
        for row in rows.tolist():
            if not self._checked[row]:
                if zlib.crc32(self._rows[row].data) != self._checksums[row]:
                    raise ValueError(f"damaged at segment {self.first + row}")
                self._checked[row] = True


def is_complete(folder: Path, layout: RowLayout) -> bool:
    """Return whether `folder` holds all shards of this layout, each of its size."""
    return read_layout(folder) == layout and not _missing(folder, layout)


def read_layout(folder: Path) -> RowLayout | None:
    """Return the layout of the shards in `folder`, or None if they are not whole."""
    return rowstore.read_layout(folder, whole="index.json")


def _missing(folder: Path, layout: RowLayout) -> list[int]:
    """Return the shards that are not there, or not of their size."""
    return [s for s in range(layout.num_chunks) if not _has_size(folder, layout, s)]


def _has_size(folder: Path, layout: RowLayout, shard: int) -> bool:
    try:
        return shard_path(folder, shard).stat().st_size == shard_bytes(layout, shard)
    except OSError:
        return False


def write_shards(
    folder: Path,
    layout: RowLayout,
    make: MakeRows,
    *,
    about: dict[str, object],
    num_threads: int,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Make sure that `folder` holds all shards; one that is there already is kept.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """

    def work(shard: int) -> None:
        data = make_shard(layout, shard, make)
        with replacing(shard_path(folder, shard)) as handle:
            handle.write(data.data)

    def write() -> None:
        start_anew_unless(folder, layout, patterns=("shard-*.bin",), whole="index.json")
        missing = _missing(folder, layout)
        for_each(work, missing, num_threads=num_threads, progress=progress)
        index = {"layout": asdict(layout), "about": about}
        write_text(folder / "index.json", json.dumps(index, indent=1))

    build_once(folder, is_whole=lambda: is_complete(folder, layout), work=write, say=say)


def verify(
    folder: Path, layout: RowLayout, *, num_threads: int = 1, progress: Progress | None = None
) -> list[int]:
    """Return the shards that are missing or damaged; `progress` is told of shards."""
    bad: list[int] = []

    def check(shard: int) -> None:
        try:
            read_shard(folder, layout, shard)
        except StorageError:
            bad.append(shard)

    for_each(check, range(layout.num_chunks), num_threads=num_threads, progress=progress)
    return sorted(bad)


def forget_shards(folder: Path, shards: list[int]) -> None:
    """Remove shards, so that the next run writes them again.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        with exclusive(folder / "build.lock"):
            (folder / "index.json").unlink(missing_ok=True)
            for shard in shards:
                shard_path(folder, shard).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error


def read_shard(folder: Path, layout: RowLayout, shard: int) -> Tensor:
    """Return the rows of a shard, [n, *shape], every one of them checked.

    Raises:
        StorageError: the shard is missing or damaged; the message names its file.
    """
    path = shard_path(folder, shard)
    try:
        opened = ShardMap(path, layout, shard)
        opened.check(np.arange(len(opened.rows)))
    except OSError as error:
        raise StorageError(
            f"Cannot read {path}: {error.strerror}. Run again: what is missing is written anew."
        ) from error
    except ValueError as error:
        raise StorageError(f"{path} is {error}. Remove it and run again.") from error
    return opened.rows
