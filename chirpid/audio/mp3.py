"""Keep mpg123 from writing to the console.

Many MP3 files on the web were cut or tagged without a new Xing header. libsndfile's mpg123 then
complains on stderr each time such a file is opened, which in training is once a segment. The length
stated there only serves mpg123's own seeking, which is never used here, so it is put right in a
private copy.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import BinaryIO

SEARCH_BYTES = 4096
_HAS_FRAMES = 1
_HAS_BYTES = 2


def os_name(path: Path) -> str | bytes:
    """Return the name of a file as soundfile takes any: as bytes, for it encodes text strictly."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def quiet_source(path: Path) -> str | bytes | mmap.mmap:
    """Return what libsndfile is to open: a file name, or bytes with the right Xing length."""
    with open(path, "rb") as handle:
        first_frame = _bytes_of_id3(handle)
        handle.seek(first_frame)
        found = _stated_length(handle.read(SEARCH_BYTES))
        true = os.fstat(handle.fileno()).st_size - first_frame
        if found is None or abs(found[1] - true) * 200 < true:  # it complains from 1 % on
            return os_name(path)
        memory = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        at = first_frame + found[0]
        memory[at : at + 4] = (true & 0xFFFFFFFF).to_bytes(4, "big")
        return memory


def _bytes_of_id3(handle: BinaryIO) -> int:
    """Return the length of the ID3v2 tag at the start, 0 if there is none."""
    head = handle.read(10)
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | (byte & 0x7F)
    return 10 + size


def _stated_length(frame: bytes) -> tuple[int, int] | None:
    """Return where in the first frame its Xing tag states the stream's bytes, and how many."""
    if frame[:1] != b"\xff":
        return None
    at = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if at < 0 or not flags & _HAS_BYTES:
        return None
    where = at + (12 if flags & _HAS_FRAMES else 8)
    return where, int.from_bytes(frame[where : where + 4], "big")
