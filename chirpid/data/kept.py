"""What a row is as it is kept: its shape, its number type, and the way there and back.

A kept number q stands for `q * scale + offset`: int16 and uint8 are steps of equal size, the
floats stand for themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from chirpid.native import handle
from chirpid.native.narrow import narrow, through_kept
from chirpid.types import Keep, StoreDtype

TORCH_DTYPES = {
    StoreDtype.uint8: torch.uint8,
    StoreDtype.int16: torch.int16,
    StoreDtype.float16: torch.float16,
    StoreDtype.float32: torch.float32,
}
INT16_SCALE = 32767.0
FLOAT16_MAX = 65504.0

Stages = dict[str, float]
"""Seconds by name of the stage: decode, resample, frontend, gather, read. Names that begin with
`num_` are counts: rows found in memory or a store (num_cache_hits), or made or read anew."""


def add_stages(stages: Stages, more: Mapping[str, float]) -> None:
    """Add seconds and counts to those of the same names in `stages`."""
    for name, amount in more.items():
        stages[name] = stages.get(name, 0) + amount


@dataclass(frozen=True, slots=True)
class RowSpec:
    """What a row is: waveform [T] or spectrogram [M, F], and the number type it is kept in."""

    keep: Keep
    dtype: StoreDtype
    shape: tuple[int, ...]
    low: float = 0.0
    """The value that 0 stands for, for uint8."""
    high: float = 1.0
    """The value that 255 stands for, for uint8."""

    in_parts: ClassVar[bool] = True
    """Several workers may make parts of one batch."""

    def empty(self, num_rows: int, *, pin_memory: bool = False) -> Tensor:
        """Return memory for a float32 batch."""
        # A caller in inference mode would make memory that nobody may write to outside of it.
        with torch.inference_mode(False):
            return torch.empty((num_rows, *self.shape), pin_memory=pin_memory)

    def slot_bytes(self, num_rows: int) -> int:
        """Return the bytes that `over` needs for a batch."""
        return num_rows * self.batch_row_bytes

    def over(self, buffer: Any, offset: int, num_rows: int) -> Tensor:
        """Return a float32 batch that lies in `buffer`, a writeable map, from byte `offset` on."""
        flat = torch.frombuffer(
            buffer, dtype=torch.float32, count=num_rows * math.prod(self.shape), offset=offset
        )
        return flat.view(num_rows, *self.shape)

    @property
    def torch_dtype(self) -> torch.dtype:
        return TORCH_DTYPES[self.dtype]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as kept."""
        return math.prod(self.shape) * self.torch_dtype.itemsize

    @property
    def batch_row_bytes(self) -> int:
        """Bytes of a row in a batch, which is float32."""
        return math.prod(self.shape) * 4

    @property
    def scale(self) -> float:
        """The value of one step of a kept number."""
        if self.dtype is StoreDtype.int16:
            return 1 / INT16_SCALE
        return (self.high - self.low) / 255 if self.dtype is StoreDtype.uint8 else 1.0

    @property
    def offset(self) -> float:
        """The value of a kept 0."""
        return self.low if self.dtype is StoreDtype.uint8 else 0.0

    def narrow(self, values: Tensor, kept: Tensor) -> None:
        """Write float32 `values` into kept numbers, the nearest there are; beyond them, the last.

        int16 ends at full scale, float16 at 65504, uint8 at `low` and `high`.
        """
        if _is_native(values, torch.float32) and _is_native(kept, self.torch_dtype):
            narrow(
                self.dtype.value, values.data_ptr(), kept.data_ptr(), kept.numel(),
                scale=self.steps, offset=self.offset,
            )  # fmt: skip
        elif self.dtype is StoreDtype.int16:
            kept.copy_((values * INT16_SCALE).round_().clamp_(-32768, 32767))
        elif self.dtype is StoreDtype.uint8:
            kept.copy_(((values - self.offset) / self.scale).round_().clamp_(0, 255))
        elif self.dtype is StoreDtype.float16:
            kept.copy_(values.clamp(-FLOAT16_MAX, FLOAT16_MAX))
        else:
            kept.copy_(values)

    def through_kept(self, values: Tensor) -> None:
        """Replace float32 `values`, contiguous, by what `narrow` and `widen` leave of them."""
        if self.dtype is StoreDtype.float32:
            return
        if _is_native(values, torch.float32):
            through_kept(
                self.dtype.value, values.data_ptr(), values.numel(),
                scale=self.steps, step=self.scale, offset=self.offset,
            )  # fmt: skip
        else:
            kept = torch.empty(values.shape, dtype=self.torch_dtype)
            self.narrow(values, kept)
            self.widen(kept, values)

    @property
    def steps(self) -> float:
        """What narrowing multiplies int16 by, and divides uint8 by."""
        return INT16_SCALE if self.dtype is StoreDtype.int16 else self.scale

    def widen(self, kept: Tensor, out: Tensor) -> Tensor:
        """Write kept numbers into a float32 batch and return it."""
        out.copy_(kept)
        if self.scale != 1.0:
            out.mul_(self.scale)
        if self.offset != 0.0:
            out.add_(self.offset)
        return out


def _is_native(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Return whether the native library can work on the memory of `tensor`."""
    return (
        handle() is not None
        and tensor.dtype == dtype
        and tensor.is_contiguous()
        and tensor.device.type == "cpu"
    )
