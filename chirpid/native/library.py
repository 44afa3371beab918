"""Loads the native library and says which implementation runs.

The environment variable CHIRPID_NATIVE chooses: 0 switches the library off, 1 insists on it, and
baseline, avx2 or avx512 insist on a vector width. The bits of the results are the same.
"""

from __future__ import annotations

import ctypes
import functools
import os

from chirpid.errors import ConfigError
from chirpid.native.build import LIBRARY, SOURCES, sources_hash

VARIABLE = "CHIRPID_NATIVE"
WIDTHS = ("baseline", "avx2", "avx512")


def handle() -> ctypes.CDLL | None:
    """Return the library, or None where numpy and torch do its work. Calls release the GIL.

    Raises:
        ConfigError: CHIRPID_NATIVE insists on what is not there.
    """
    return _loaded()[0]


def describe() -> str:
    """Return in one line what runs: "native, avx512", or "numpy and torch (why)"."""
    library, why = _loaded()
    if library is None:
        return f"numpy and torch ({why})"
    return f"native, {WIDTHS[library.chirpid_width()]}"


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "0", "1", *WIDTHS):
        raise ConfigError(f"{VARIABLE}={wanted} is not one of 0, 1, {', '.join(WIDTHS)}.")
    if wanted == "0":
        return None, f"{VARIABLE}=0"
    library, why = _open()
    if library is None and wanted:
        raise ConfigError(f"{VARIABLE}={wanted}, but {why}. Set it to 0 to do without.")
    if library is not None and wanted in WIDTHS and library.chirpid_use_width(WIDTHS.index(wanted)):
        widest = WIDTHS[library.chirpid_widest()]
        raise ConfigError(f"{VARIABLE}={wanted}, but this processor ends at {widest}.")
    return library, why


def _open() -> tuple[ctypes.CDLL | None, str]:
    if not LIBRARY.exists():
        return (
            None,
            "the native library is not built: run 'make install' where there is a C++ compiler",
        )
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        return None, f"the native library does not load: {error}"
    library.chirpid_sources.restype = ctypes.c_char_p
    if library.chirpid_sources().decode() != sources_hash(SOURCES):
        return None, "the native library was built from other sources: run 'make install'"
    return library, ""
