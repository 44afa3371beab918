"""Keep memory that was freed, instead of giving it back and asking for it again.

Every training step frees its activations, tens of MB each. The C library gives such blocks back to
the system, which has to clear them, page by page, when the next step asks for as much: on a CPU
that took up to 40 % of a step. Kept, the memory stays at the most that a step needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator, Mapping

# mallopt(3) of the GNU C library
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = -1
_LARGE, _LARGE_BEFORE_2_35 = 2**30, 2**25
"""Blocks from this size on are mapped one by one, and go back when they are freed."""
# What the library's own rule comes to once a large block was freed; it cannot be asked.
_USUAL_TRIM, _USUAL_MMAP = 2**26, 2**25

_lock = threading.Lock()
_depth = 0


@contextlib.contextmanager
def kept_memory(wanted: bool = True) -> Iterator[bool]:
    """Keep what is freed inside, and give it back at the end. Contexts may be nested.

    Yields:
        whether memory is kept: by the GNU C library alone, and unless `set_by_user`.
    """
    library = _glibc() if wanted and not set_by_user(os.environ) else None
    if library is None:
        yield False
        return
    _enter(library)
    try:
        yield True
    finally:
        _leave(library)


def set_by_user(environ: Mapping[str, str]) -> bool:
    """Return whether the environment says what the C library should do with freed memory."""
    named = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")
    return any(name in environ for name in named) or "glibc.malloc." in environ.get(
        "GLIBC_TUNABLES", ""
    )


def _enter(library: ctypes.CDLL) -> None:
    global _depth
    with _lock:
        _depth += 1
        if _depth > 1:
            return
        library.mallopt(_TRIM_THRESHOLD, _NEVER)
        if not library.mallopt(_MMAP_THRESHOLD, _LARGE):
            library.mallopt(_MMAP_THRESHOLD, _LARGE_BEFORE_2_35)


def _leave(library: ctypes.CDLL) -> None:
    global _depth
    with _lock:
        _depth -= 1
        if _depth:
            return
        library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        library.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP)
        library.malloc_trim(ctypes.c_size_t(0))


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # there is no such thing as the program itself on Windows
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None
