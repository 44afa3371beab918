"""Float32 values to the numbers that rows are kept in, and through them."""

from __future__ import annotations

from chirpid.native.function import ADDRESS, FLOAT, INT, LONG, Function
from chirpid.native.gather import KINDS

_narrow = Function("narrow", INT, ADDRESS, ADDRESS, LONG, FLOAT, FLOAT)
_through_kept = Function("through_kept", INT, ADDRESS, LONG, FLOAT, FLOAT, FLOAT)


def narrow(kind: str, values: int, kept: int, count: int, *, scale: float, offset: float) -> None:
    """Write `count` float32 at address `values` as numbers of `kind` to address `kept`.

    int16 is the nearest to `value * scale`, uint8 to `(value - offset) / scale`, float16 to the
    value; beyond the last number there is, that one.
    """
    _narrow(KINDS[kind], values, kept, count, scale, offset)


def through_kept(
    kind: str, values: int, count: int, *, scale: float, step: float, offset: float
) -> None:
    """Replace `count` float32 at address `values` by what is left of them after being kept.

    Args:
        scale: as for `narrow`.
        step: of the way back, which is `number * step + offset`.
    """
    _through_kept(KINDS[kind], values, count, scale, step, offset)
