"""Where in an Ogg Vorbis file a seek can be trusted.

Source: the page layout of RFC 3533; that libsndfile 1.2.2 is exact up to the last page, and off
by the trimmed length within it, was measured (see tests/audio/test_decode.py).
"""

from __future__ import annotations

from pathlib import Path

# Three whole pages lie in this much: a page has at most 27 + 255 + 255 * 255 bytes.
TAIL_BYTES = 4 * 65307
LONGEST_BLOCK = 8192
"""Frames of the longest Vorbis block; a page's first frames overlap with the page before."""


def last_safe_frame(path: Path) -> int:
    """Return the last frame to which a fresh Vorbis decoder seeks exactly; 0 if that is unknown.

    The encoder trims the end of the last page, and a seek into that page lands too late by as
    much. A torn file ends in a page that is not whole. So the last two pages are left alone.
    """
    with open(path, "rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(0, size - TAIL_BYTES))
        ends = _page_ends(handle.read())
    return max(0, ends[-3] - LONGEST_BLOCK) if len(ends) >= 3 else 0


def _page_ends(data: bytes) -> list[int]:
    """Return the granule positions (frames at the end of a page) of the pages in `data`."""
    ends: list[int] = []
    at = data.find(b"OggS")
    while at >= 0 and at + 14 <= len(data):
        granule = int.from_bytes(data[at + 6 : at + 14], "little", signed=True)
        if data[at + 4] == 0 and granule >= 0:
            ends.append(granule)
        at = data.find(b"OggS", at + 4)
    return ends
