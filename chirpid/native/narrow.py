"""Float32 values to the numbers that rows are kept in, and through them."""

from __future__ import annotations

import ctypes

from chirpid.native.gather import KINDS
from chirpid.native.library import handle


def narrow(kind: str, values: int, kept: int, count: int, *, scale: float, offset: float) -> None:
    """Write `count` float32 at address `values` as numbers of `kind` to address `kept`.

    int16 is the nearest to `value * scale`, uint8 to `(value - offset) / scale`, float16 to the
    value; beyond the last number there is, that one.
    """
    library = handle()
    assert library is not None, "ask handle() first"
    failed = library.chirpid_narrow(
        KINDS[kind],
        ctypes.c_void_p(values),
        ctypes.c_void_p(kept),
        ctypes.c_int64(count),
        ctypes.c_float(scale),
        ctypes.c_float(offset),
    )
    assert not failed, "a kind that there is"


def through_kept(
    kind: str, values: int, count: int, *, scale: float, step: float, offset: float
) -> None:
    """Replace `count` float32 at address `values` by what is left of them after being kept.

    Args:
        scale: as for `narrow`.
        step: of the way back, which is `number * step + offset`.
    """
    library = handle()
    assert library is not None, "ask handle() first"
    failed = library.chirpid_through_kept(
        KINDS[kind],
        ctypes.c_void_p(values),
        ctypes.c_int64(count),
        ctypes.c_float(scale),
        ctypes.c_float(step),
        ctypes.c_float(offset),
    )
    assert not failed, "a kind that there is"
