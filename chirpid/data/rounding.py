"""What the number type of kept rows costs, measured on the rows themselves."""

from __future__ import annotations

import math
import threading
from dataclasses import asdict

import torch
from torch import Tensor

from chirpid.data.kept import FLOAT16_MAX, INT16_SCALE, RowSpec
from chirpid.storage.facts import RoundingError
from chirpid.types import StoreDtype

MEASURE_EVERY = 8
"""One row of so many is measured: widening all of them would be seen in the time to build."""


class Rounding:
    """Measures one row in `MEASURE_EVERY`, from any number of threads."""

    def __init__(self, spec: RowSpec, unit: str) -> None:
        self.spec, self.unit = spec, unit
        self._lock = threading.Lock()
        self._num_rows, self._num_values, self._num_clipped = 0, 0, 0
        self._worst, self._squares = 0.0, 0.0

    def watch(self, index: int, values: Tensor, kept: Tensor) -> None:
        """Take in row `index`: float32 values and the row as kept, both [*shape]."""
        if index % MEASURE_EVERY:
            return
        error = self.spec.widen(kept, torch.empty_like(values)).sub_(values)
        worst, squares = float(error.abs().max()), float(error.double().square().sum())
        clipped = self._clipped(values)
        with self._lock:
            self._num_rows += 1
            self._num_values += values.numel()
            self._num_clipped += clipped
            self._worst = max(self._worst, worst)
            self._squares += squares

    def _clipped(self, values: Tensor) -> int:
        """Return the values beyond the last step by more than rounding takes from them."""
        spec = self.spec
        bounds = {
            StoreDtype.uint8: (spec.low - spec.scale / 2, spec.high + spec.scale / 2),
            StoreDtype.int16: (-32768.5 / INT16_SCALE, 32767.5 / INT16_SCALE),
            StoreDtype.float16: (-FLOAT16_MAX, FLOAT16_MAX),
        }.get(spec.dtype)
        if bounds is None:
            return 0
        return int(((values < bounds[0]) | (values > bounds[1])).sum())

    def result(self) -> RoundingError | None:
        """Return the error of the rows so far; None before the first."""
        with self._lock:
            if not self._num_rows:
                return None
            return RoundingError(
                dtype=self.spec.dtype.value,
                unit=self.unit,
                num_rows=self._num_rows,
                worst=self._worst,
                rms=math.sqrt(self._squares / self._num_values),
                clipped=self._num_clipped / self._num_values,
            )

    def note(self, about: dict[str, object]) -> None:
        """Write the error so far into the facts of a cache."""
        found = self.result()
        if found is not None:
            about["error"] = asdict(found)
