"""Rows without their median, by the native library."""

from __future__ import annotations

from chirpid.native.function import ADDRESS, FLOAT, INT, LONG, Function

_centre_rows = Function("centre_rows", ADDRESS, LONG, LONG, INT, FLOAT, ADDRESS)


def centre_rows(rows: int, out: int, *, count: int, length: int, floor: float | None) -> None:
    """Write float32 rows [count, length] at address `rows` without their median to `out`.

    The bits of torch: the lower median of two; with a floor, what is at or below it is not
    counted and becomes 0, and NaN is not counted.

    Raises:
        MemoryError: there is no room to work in.
    """
    _centre_rows(rows, count, length, floor is not None, floor or 0.0, out)
