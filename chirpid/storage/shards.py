"""Rows in files that are read from start to end: one header, then the rows.

Each shard is written under another name and renamed when it is whole, so that a shard that exists
is a shard that can be read; its CRC-32 is checked whenever it is.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chirpid.errors import StorageError
from chirpid.storage import rowstore
from chirpid.storage.atomic import replacing, storage_error, write_text
from chirpid.storage.building import build_once
from chirpid.storage.layout import MakeRows, RowLayout, start_anew_unless
from chirpid.storage.locks import exclusive
from chirpid.storage.parallel import Progress, for_each

_HEADER = struct.Struct("<8sIQI40x")
_MAGIC = b"CHIRPSH1"


def shard_path(folder: Path, shard: int) -> Path:
    """Return the file of a shard."""
    return folder / f"shard-{shard:05d}.bin"


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
    first, end = layout.span(shard)
    wanted = _HEADER.size + (end - first) * layout.row_bytes
    try:
        return shard_path(folder, shard).stat().st_size == wanted
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
        first, end = layout.span(shard)
        kept = torch.empty((end - first, *layout.shape), dtype=layout.torch_dtype)
        make(first, end, kept)
        data = kept.numpy().view(np.uint8).reshape(-1).data
        with replacing(shard_path(folder, shard)) as handle:
            handle.write(_HEADER.pack(_MAGIC, end - first, len(data), zlib.crc32(data)))
            handle.write(data)

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
    """Return the rows of a shard, [n, *shape].

    Raises:
        StorageError: the shard is missing or damaged; the message names its file.
    """
    path = shard_path(folder, shard)
    first, end = layout.span(shard)
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise StorageError(
            f"Cannot read {path}: {error.strerror}. Run again: what is missing is written anew."
        ) from error
    wanted = (_MAGIC, end - first, (end - first) * layout.row_bytes)
    if len(data) < _HEADER.size:
        raise StorageError(f"{path} is cut short. Remove it and run again.")
    *found, checksum = _HEADER.unpack(data[: _HEADER.size].tobytes())
    payload = data[_HEADER.size :]
    if tuple(found) != wanted or zlib.crc32(payload.data) != checksum:
        raise StorageError(f"{path} is damaged. Remove it and run again.")
    return torch.from_numpy(payload).view(layout.torch_dtype).view(end - first, *layout.shape)
