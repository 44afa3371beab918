"""Rows by their ids into a float32 batch, in one call without the GIL."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from chirpid.native.function import ADDRESS, INT, LONG, Function

KINDS = {"uint8": 0, "int16": 1, "float16": 2, "float32": 3}

_gather = Function("gather", ADDRESS, ADDRESS, ADDRESS, LONG, ADDRESS, LONG, INT)


class _Rows(ctypes.Structure):
    """ChirpidRows of src/gather.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("num_rows", ctypes.c_int64),
        ("row_numbers", ctypes.c_int64),
        ("kind", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("offset", ctypes.c_float),
    )


class RowGather:
    """Rows that lie one after the other at an address, which must stay valid while this is used."""

    def __init__(
        self,
        address: int,
        *,
        num_rows: int,
        row_numbers: int,
        kind: str,
        scale: float = 1.0,
        offset: float = 0.0,
    ) -> None:
        """Describe the rows.

        Args:
            row_numbers: numbers in a row.
            kind: uint8, int16, float16 or float32; a number stands for `number * scale + offset`,
                rounded after either step, as numpy and torch do.
        """
        self._call = _gather.raw
        self._rows = _Rows(address, num_rows, row_numbers, KINDS[kind], scale, offset)
        self._at = ctypes.addressof(self._rows)
        self.num_rows = num_rows

    def into(
        self,
        ids: npt.NDArray[np.int64],
        out: int,
        num_out: int,
        *,
        places: npt.NDArray[np.int64] | None = None,
        num_threads: int = 1,
    ) -> None:
        """Write row `ids[i]` to row `places[i]` of a float32 batch, or to its row i.

        Args:
            ids: int64 [B], contiguous; may repeat.
            out: address of the batch, which has `num_out` rows.
            places: int64 [B], contiguous.
            num_threads: how many share the work of a batch that is large enough to be shared.

        Raises:
            IndexError: an id is not that of a row, or a place not in the batch; nothing is written.
        """
        where = None if places is None else places.ctypes.data
        failed = self._call(self._at, ids.ctypes.data, where, len(ids), out, num_out, num_threads)
        if failed:
            check_within(ids, self.num_rows, "id", "segments")
            check_within(np.arange(len(ids)) if places is None else places, num_out, "place",
                         "places")  # fmt: skip


def check_within(numbers: npt.NDArray[np.int64], end: int, name: str, of: str) -> None:
    """Refuse numbers that are not within 0 to `end` - 1.

    Raises:
        IndexError: names the first of them.
    """
    outside = (numbers < 0) | (numbers >= end)
    if outside.any():
        bad = numbers[outside][0]
        raise IndexError(f"{name} {bad} is not among the {of} from 0 to {end - 1}")
