"""A set of shards that is complete in itself: an index, which comes last, and the files it names.

index.json        what there is: sizes, checksums, layout, and what the set is about
plan.json         the same before a row is written, so that a killed writer can go on
shard-00000.bin   rows; see `shards`
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chirpid.errors import StorageError
from chirpid.storage.layout import MakeRows, RowLayout
from chirpid.storage.parallel import Progress, for_each
from chirpid.storage.remote import MissingFileError, Place
from chirpid.storage.shards import (
    HEADER,
    Bytes,
    make_shard,
    shard_bytes,
    shard_checksum,
    shard_name,
)

VERSION = 1
INDEX, PLAN = "index.json", "plan.json"


@dataclass(frozen=True, slots=True)
class SetIndex:
    """What the index of a set says."""

    layout: RowLayout
    key: str
    """Digest of all that decides the set; equal sets have equal bytes."""
    checksums: tuple[int, ...]
    """The CRC of each shard."""
    files: dict[str, dict[str, int]]
    """Size and CRC of each other file."""
    about: dict[str, Any]


def write_set(
    place: Place,
    layout: RowLayout,
    make: MakeRows,
    *,
    about: Mapping[str, Any],
    files: Mapping[str, bytes],
    rows_key: str,
    num_threads: int,
    progress: Progress | None = None,
) -> int:
    """Write a set, or what is missing of it, the index last; return the shards that were written.

    Args:
        about: plain values, told by the index.
        files: what else belongs to the set, by name.
        rows_key: digest of all that decides the rows.
        progress: called with (segments done, all segments).
    Raises:
        StorageError: the place cannot be written, or holds another set.
    """
    described = {name: _described(data) for name, data in files.items()}
    plan = {"version": VERSION, "layout": asdict(layout), "files": described, "about": dict(about)}
    key = hashlib.sha256((rows_key + _text(plan)).encode()).hexdigest()[:20]
    there = place.sizes()
    _refuse_another(place, there, key)
    if INDEX not in there:
        place.write(PLAN, _bytes(_text({"key": key, **plan})))
    sizes = [shard_bytes(layout, s) for s in range(layout.num_chunks)]
    todo = [s for s, size in enumerate(sizes) if there.get(shard_name(s)) != size]
    checksums: dict[int, int] = {}
    before = layout.num_rows - sum(_num_rows(layout, s) for s in todo)

    def work(shard: int) -> None:
        data = make_shard(layout, shard, make)
        place.write(shard_name(shard), data)
        checksums[shard] = _checksum(data, layout, shard, place)

    def told(done: int, _total: int) -> None:
        if progress:
            progress(min(before + done * layout.chunk_rows, layout.num_rows), layout.num_rows)

    for_each(work, todo, num_threads=num_threads, progress=told)
    if not todo and INDEX in there:
        return 0
    for shard in set(range(layout.num_chunks)) - set(todo):
        head = place.read(shard_name(shard), end=HEADER.size)
        checksums[shard] = _checksum(head, layout, shard, place)
    for name, data in files.items():
        place.write(name, _bytes(data))
    index = {"key": key, **plan, "checksums": [checksums[s] for s in range(layout.num_chunks)]}
    index["digest"] = _digest(index)
    place.write(INDEX, _bytes(_text(index)))
    return len(todo)


def read_index(place: Place) -> SetIndex:
    """Return the index of a set.

    Raises:
        StorageError: there is none, or it is damaged or of another version.
    """
    try:
        data = place.read(INDEX, check=_index_fault)
    except MissingFileError as error:
        raise StorageError(
            f"There is no whole set of shards at {place.where()}: it has no {INDEX}. Give the "
            "folder or address that chirpid shard has written; if it was stopped, run it again."
        ) from error
    found = json.loads(data.tobytes())
    if found["version"] != VERSION:
        raise StorageError(
            f"{place.where(INDEX)} is of version {found['version']}, this program reads {VERSION}. "
            "Write the set again, or use the chirpid that wrote it."
        )
    layout = RowLayout(**{**found["layout"], "shape": tuple(found["layout"]["shape"])})
    checksums = tuple(found["checksums"])
    return SetIndex(layout, found["key"], checksums, found["files"], found["about"])


def read_file(place: Place, index: SetIndex, name: str) -> bytes:
    """Return one of the other files of a set.

    Raises:
        StorageError: it is missing or damaged.
    """
    wanted = index.files[name]

    def check(data: Bytes) -> str:
        if len(data) < wanted["bytes"]:
            return f"cut short: {len(data)} of {wanted['bytes']} bytes"
        return "" if _described(data.tobytes()) == wanted else "damaged"

    return place.read(name, check=check).tobytes()


def _refuse_another(place: Place, there: Mapping[str, int], key: str) -> None:
    if not any(name in (INDEX, PLAN) or name.startswith("shard-") for name in there):
        return
    for name in (INDEX, PLAN):
        if name in there:
            try:
                if json.loads(place.read(name).tobytes()).get("key") == key:
                    return
            except ValueError:
                continue  # cut short: nobody knows what it was
            break
    raise StorageError(
        f"{place.where()} holds another set of shards, or part of one: other recordings, settings "
        "or version. Give an empty place, or remove what is there."
    )


def _checksum(data: Bytes, layout: RowLayout, shard: int, place: Place) -> int:
    found = shard_checksum(data[: HEADER.size].tobytes(), layout, shard)
    if found is None:
        raise StorageError(f"{place.where(shard_name(shard))} is damaged. Remove it and run again.")
    return found


def _num_rows(layout: RowLayout, shard: int) -> int:
    first, end = layout.span(shard)
    return end - first


def _described(data: bytes) -> dict[str, int]:
    return {"bytes": len(data), "crc32": zlib.crc32(data)}


def _digest(index: Mapping[str, Any]) -> int:
    return zlib.crc32(_text({k: v for k, v in index.items() if k != "digest"}).encode())


def _index_fault(data: Bytes) -> str:
    try:
        found = json.loads(data.tobytes())
    except ValueError:
        return "cut short or damaged"
    if not isinstance(found, dict) or found.get("digest") != _digest(found):
        return "damaged"
    return ""


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, indent=1)


def _bytes(text: str | bytes) -> Bytes:
    return np.frombuffer(text.encode() if isinstance(text, str) else text, dtype=np.uint8)
