"""Batches of any structure and size, and their way through shared memory."""

from __future__ import annotations

import math
import pickle
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.general.columns import ALIGNED
from chirpid.data.general.trees import Skeleton, Tree, leaves_of, skeleton_of
from chirpid.types import IntArray

_HEAD = struct.Struct("<q")
_ROOM_BYTES = 2**16
"""Of a slot, beside its rows: structure, texts, small batches."""


class Loose:
    """A batch as a collator made it.

    Args:
        ids: of the samples in it, where some were left out.
    """

    __slots__ = ("ids", "num_rows", "value")

    def __init__(self, value: Tree, num_rows: int, ids: IntArray | None = None) -> None:
        self.value, self.num_rows, self.ids = value, num_rows, ids

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, rows: slice) -> Loose:
        return self

    @property
    def nbytes(self) -> int:
        return sum(int(getattr(leaf, "nbytes", 0)) for leaf in leaves_of(self.value))

    def tree(self) -> Tree:
        """Return the batch as users see it."""
        return self.value

    lend = tree


@dataclass(frozen=True, slots=True)
class LooseLayout:
    """What is known of batches that a collator makes.

    Args:
        row_bytes: of a sample in a batch, as far as was seen; only shared memory is taken by it.
    """

    row_bytes: int
    in_parts: bool = False
    is_loose: bool = True

    @property
    def batch_row_bytes(self) -> int:
        return self.row_bytes

    def empty(self, num_rows: int, *, pin_memory: bool = False) -> Loose:
        """Return nothing: a collator takes memory of its own."""
        return Loose(None, 0)

    def slot_bytes(self, num_rows: int) -> int:
        """Return the bytes of a slot: batches may come out twice as large as those seen."""
        return _ROOM_BYTES + 2 * num_rows * self.row_bytes

    def over(self, buffer: Any, offset: int, num_rows: int) -> LooseSlot:
        """Return room in `buffer`, a writeable map, from byte `offset` on."""
        return LooseSlot(memoryview(buffer)[offset : offset + self.slot_bytes(num_rows)])


class NoRoomError(Exception):
    """A batch is larger than its slot."""

    def __init__(self, need_bytes: int, have_bytes: int) -> None:
        super().__init__(need_bytes, have_bytes)
        self.share = need_bytes / have_bytes


class LooseSlot:
    """Shared memory that a worker writes a batch to and the caller reads it from."""

    __slots__ = ("room",)

    def __init__(self, room: memoryview) -> None:
        self.room = room

    def __getitem__(self, rows: slice) -> LooseSlot:
        return self

    def write(self, batch: Loose) -> None:
        """Write a batch.

        Raises:
            NoRoomError: it is too large.
        """
        leaves = leaves_of(batch.value)
        arrays = [_array(leaf) for leaf in leaves]
        plain = [None if array is not None else leaf
                 for leaf, array in zip(leaves, arrays, strict=True)]  # fmt: skip
        kinds = [None if array is None else _kind(leaf, array)
                 for leaf, array in zip(leaves, arrays, strict=True)]  # fmt: skip
        skeleton = skeleton_of(batch.value, keeps_tuples=True)
        head = pickle.dumps((skeleton, plain, kinds, batch.num_rows, batch.ids))
        at = _aligned(_HEAD.size + len(head))
        need = at + sum(_aligned(array.nbytes) for array in arrays if array is not None)
        if need > len(self.room):
            raise NoRoomError(need, len(self.room))
        _HEAD.pack_into(self.room, 0, len(head))
        self.room[_HEAD.size : _HEAD.size + len(head)] = head
        for array in arrays:
            if array is not None and array.nbytes:
                to = np.frombuffer(self.room, array.dtype, array.size, offset=at)
                np.copyto(to.reshape(array.shape), array)
                at += _aligned(array.nbytes)

    def read(self) -> Loose:
        """Return the batch, in memory of its own."""
        (length,) = _HEAD.unpack_from(self.room)
        skeleton: Skeleton
        skeleton, leaves, kinds, num_rows, ids = pickle.loads(
            self.room[_HEAD.size : _HEAD.size + length]
        )
        at = _aligned(_HEAD.size + length)
        for place, kind in enumerate(kinds):
            if kind is not None:
                leaves[place], num_bytes = _copied(self.room, at, kind)
                at += _aligned(num_bytes)
        return Loose(skeleton.rebuild(leaves), num_rows, ids)


_Kind = tuple[str, tuple[int, ...], torch.dtype | None]
"""Of an array in shared memory: numpy's number type, shape, and torch's if it is a tensor."""


def _array(leaf: Any) -> np.ndarray[Any, Any] | None:
    """Return the numbers of a leaf, in order; None if it has to be pickled."""
    if isinstance(leaf, Tensor):
        if leaf.layout is not torch.strided or not leaf.is_cpu or leaf.is_quantized:
            return None
        plain = leaf.detach().resolve_conj().resolve_neg()
        plain = plain.view(torch.int16) if leaf.dtype is torch.bfloat16 else plain
        try:
            return np.asarray(plain.numpy())
        except TypeError:  # number types that numpy does not know
            return None
    if type(leaf) is np.ndarray and not leaf.dtype.hasobject:
        return leaf
    return None


def _kind(leaf: Any, array: np.ndarray[Any, Any]) -> _Kind:
    return array.dtype.str, array.shape, leaf.dtype if isinstance(leaf, Tensor) else None


def _copied(room: memoryview, at: int, kind: _Kind) -> tuple[Any, int]:
    text, shape, torch_dtype = kind
    dtype = np.dtype(text)
    source = np.frombuffer(room, dtype, math.prod(shape), offset=at).reshape(shape)
    if torch_dtype is None:
        return source.copy(), source.nbytes
    number = torch.int16 if torch_dtype is torch.bfloat16 else torch_dtype
    tensor = torch.empty(shape, dtype=number)
    np.copyto(tensor.numpy(), source)
    return (tensor if number is torch_dtype else tensor.view(torch_dtype)), source.nbytes


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNED) * ALIGNED
