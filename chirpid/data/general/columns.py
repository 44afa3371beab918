"""Batches of samples of one shape: a contiguous tensor for each leaf, kept from batch to batch.

Memory that is kept is lent: a batch that somebody still holds is never written to again. Whoever
lets go of a batch before the next-but-one is asked for, as training loops do, costs no memory.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from chirpid.data.general.trees import LEAF, Skeleton, Tree, leaves_of, skeleton_of
from chirpid.types import IntArray

ALIGNED = 64
"""Columns in shared memory begin on a line of the cache."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one leaf of every sample is."""

    dtype: torch.dtype
    shape: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


def leaf_of(value: Any) -> Leaf | None:
    """Return what a value is as torch's default collate takes it; None if it is no number."""
    if isinstance(value, Tensor):
        plain = value.layout is torch.strided and value.is_cpu and not value.is_quantized
        return Leaf(value.dtype, tuple(value.shape)) if plain else None
    if isinstance(value, bool):
        return Leaf(torch.bool)
    if isinstance(value, np.ndarray | np.generic):
        dtype = _torch_dtype(value.dtype)
        return None if dtype is None else Leaf(dtype, tuple(value.shape))
    if isinstance(value, int):
        return Leaf(torch.int64) if -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return Leaf(torch.float64)
    return None


def _torch_dtype(dtype: np.dtype[Any]) -> torch.dtype | None:
    if dtype.kind not in "biufc" or not dtype.isnative:
        return None
    try:
        return torch.from_numpy(np.empty(0, dtype)).dtype
    except TypeError:  # numpy has types that torch has not
        return None


@dataclass(frozen=True, slots=True)
class Layout:
    """What every sample of a dataset is."""

    leaves: tuple[Leaf, ...]
    skeleton: Skeleton = LEAF
    in_parts: bool = True
    """Whether several workers may make parts of one batch."""

    is_loose: ClassVar[bool] = False

    @property
    def batch_row_bytes(self) -> int:
        """Bytes of a sample in a batch."""
        return sum(leaf.row_bytes for leaf in self.leaves)

    def empty(self, num_rows: int, *, pin_memory: bool = False) -> Columns:
        """Return memory for a batch."""
        # A caller in inference mode would make memory that nobody may write to outside of it.
        with torch.inference_mode(False):
            return Columns(
                self.skeleton,
                [
                    torch.empty((num_rows, *leaf.shape), dtype=leaf.dtype, pin_memory=pin_memory)
                    for leaf in self.leaves
                ],
            )

    def slot_bytes(self, num_rows: int) -> int:
        """Return the bytes that `over` needs for a batch."""
        return sum(_aligned(num_rows * leaf.row_bytes) for leaf in self.leaves)

    def over(self, buffer: Any, offset: int, num_rows: int) -> Columns:
        """Return a batch that lies in `buffer`, a writeable map, from byte `offset` on."""
        tensors = []
        for leaf in self.leaves:
            numbers = math.prod(leaf.shape) * num_rows
            if numbers:
                flat = torch.frombuffer(buffer, dtype=leaf.dtype, count=numbers, offset=offset)
            else:
                flat = torch.empty(0, dtype=leaf.dtype)
            tensors.append(flat.view(num_rows, *leaf.shape))
            offset += _aligned(num_rows * leaf.row_bytes)
        return Columns(self.skeleton, tensors)

    def names(self) -> list[str]:
        """Return what to call each leaf in messages."""
        return self.skeleton.names()


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNED) * ALIGNED


def layout_of(samples: Sequence[Tree]) -> Layout | None:
    """Return what all of these samples are; None if they differ, or hold what is no number."""
    found: Layout | None = None
    for sample in samples:
        leaves = [leaf_of(leaf) for leaf in leaves_of(sample)]
        known = [leaf for leaf in leaves if leaf is not None]
        if len(known) < len(leaves) or not leaves:
            return None
        layout = Layout(tuple(known), skeleton_of(sample))
        if found is not None and layout != found:
            return None
        found = layout
    return found


class Columns:
    """A batch: one tensor [B, *shape] for each leaf.

    Args:
        owner: the batch whose memory this is a part of.
        ids: which of the ids that were asked for are here, where some were left out.
    """

    __slots__ = ("_loans", "_nbytes", "_owner", "ids", "skeleton", "tensors")

    def __init__(
        self,
        skeleton: Skeleton,
        tensors: list[Tensor],
        owner: Columns | None = None,
        ids: IntArray | None = None,
    ) -> None:
        self.skeleton, self.tensors, self.ids = skeleton, tensors, ids
        self._owner = owner
        self._nbytes = -1
        self._loans: list[weakref.ref[Any]] = []

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, rows: slice) -> Columns:
        return Columns(self.skeleton, [t[rows] for t in self.tensors], self._owner or self)

    @property
    def nbytes(self) -> int:
        if self._nbytes < 0:  # kept, as every batch is asked
            self._nbytes = sum(tensor.nbytes for tensor in self.tensors)
        return self._nbytes

    def first(self, num_rows: int) -> Columns:
        """Return the first rows: itself, if those are all."""
        return self if num_rows == len(self) else self[:num_rows]

    def split(self, sizes: int | list[int]) -> list[Columns]:
        """Return parts of these sizes, or of one size with a rest."""
        parts = zip(*(t.split(sizes) for t in self.tensors), strict=True)  # type: ignore[no-untyped-call]
        owner = self._owner or self
        return [Columns(self.skeleton, list(part), owner) for part in parts]

    def tree(self) -> Tree:
        """Return the batch as users see it; its memory is written to again."""
        return self.skeleton.rebuild(self.tensors)

    def lend(self) -> Tree:
        """Return the batch as users see it, in memory that is left alone while anybody uses it."""
        loans = (self._owner or self)._loans
        lent = []
        for tensor in self.tensors:
            # A storage of its own for this batch, which lives as long as any tensor, view or array
            # made from it, and holds this array so long.
            if not tensor.is_cpu:  # nothing there is used again
                lent.append(tensor)
                continue
            alias = _bits(tensor) if tensor.dtype in NOT_OF_NUMPY else tensor.numpy()
            loans.append(weakref.ref(alias))
            again = torch.from_numpy(alias)
            lent.append(again if tensor.dtype is again.dtype else again.view(tensor.dtype))
        return self.skeleton.rebuild(lent)

    def is_lent(self) -> bool:
        """Return whether anything that was lent is still in use. Loans that ended are forgotten."""
        if self._loans:
            self._loans = [loan for loan in self._loans if loan() is not None]
        return bool(self._loans)

    def to(self, device: torch.device) -> Columns:
        """Return the batch on a device."""
        return Columns(self.skeleton, [tensor.to(device) for tensor in self.tensors])

    def rows(self, ids: Tensor) -> Columns:
        """Return rows by their ids [B], on the device where both are, in memory of their own."""
        return Columns(self.skeleton, [tensor.index_select(0, ids) for tensor in self.tensors])

    def copy_from(self, other: Columns) -> None:
        """Write the rows of another batch into this one, of the same length."""
        for to, source in zip(self.tensors, other.tensors, strict=True):
            to.copy_(source)


def _bits(tensor: Tensor) -> Any:
    return tensor.view(NOT_OF_NUMPY[tensor.dtype]).numpy()


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}
_NAMES = (
    "bfloat16", "complex32", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu",
)  # fmt: skip
_KNOWN = [getattr(torch, name) for name in _NAMES if hasattr(torch, name)]
NOT_OF_NUMPY = {dtype: _INTEGERS[dtype.itemsize] for dtype in _KNOWN}
"""Number types that numpy does not know, and those that it sees in their place."""
