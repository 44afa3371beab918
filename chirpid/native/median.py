"""Rows without their median, by the native library."""

from __future__ import annotations

import ctypes

from chirpid.native.library import handle


def centre_rows(rows: int, out: int, *, count: int, length: int, floor: float | None) -> None:
    """Write float32 rows [count, length] at address `rows` without their median to `out`.

    The bits of torch: the lower median of two; with a floor, what is at or below it is not
    counted and becomes 0, and NaN is not counted.

    Raises:
        MemoryError: there is no room to work in.
    """
    library = handle()
    assert library is not None, "ask handle() first"
    failed = library.chirpid_centre_rows(
        ctypes.c_void_p(rows),
        ctypes.c_int64(count),
        ctypes.c_int64(length),
        ctypes.c_int(floor is not None),
        ctypes.c_float(floor or 0.0),
        ctypes.c_void_p(out),
    )
    if failed:
        raise MemoryError("median: no memory to work in")
