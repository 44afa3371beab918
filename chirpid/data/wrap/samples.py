"""Samples of any kind, kept as they are under a bound on their bytes."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chirpid.data.general.trees import Tree, is_named_tuple, is_sequence
from chirpid.data.wrap.row_table import CachePolicy

TENSOR_BYTES = 640
"""Of a tensor beside its numbers: the objects of Python and C++, and rounding."""
ARRAY_BYTES = 64
"""Of an array beside what it says itself: rounding."""
ENTRY_BYTES = 320
"""Of an entry of the dict: its node, its number, its place."""
_AS_IS = (str, bytes, int, float, complex, bool, type(None), np.generic)


@dataclass(frozen=True, slots=True)
class _Pickled:
    """A value of another kind."""

    data: bytes


def kept(sample: Tree) -> tuple[Tree, int]:
    """Return a copy of a sample that nobody else holds, and its bytes.

    Tensors, arrays, texts, bytes and numbers in dicts, lists and tuples are counted by what they
    take. All else is kept as its pickle, and counted by the length of that.

    Raises:
        Exception: something in it cannot be pickled.
    """
    if type(sample) is dict:
        parts = {key: kept(value) for key, value in sample.items()}
        whole = {key: part for key, (part, _) in parts.items()}
        names = sum(map(sys.getsizeof, whole))
        return whole, sys.getsizeof(whole) + names + sum(size for _, size in parts.values())
    if type(sample) in (list, tuple) or is_named_tuple(sample):
        values, sizes = [], sys.getsizeof(sample)
        for value in sample:
            part, size = kept(value)
            values.append(part)
            sizes += size
        return (type(sample)(*values) if is_named_tuple(sample) else type(sample)(values)), sizes
    if type(sample) is Tensor and sample.layout is torch.strided and not sample.is_quantized:
        copy = sample.detach().clone()
        return copy, copy.nbytes + TENSOR_BYTES
    if type(sample) is np.ndarray and not sample.dtype.hasobject:
        array = sample.copy(order="K")
        return array, sys.getsizeof(array) + ARRAY_BYTES
    if type(sample) in _AS_IS or isinstance(sample, np.generic):
        return sample, sys.getsizeof(sample)
    data = pickle.dumps(sample, protocol=pickle.HIGHEST_PROTOCOL)
    return _Pickled(data), sys.getsizeof(data) + ARRAY_BYTES


def given(value: Tree) -> Tree:
    """Return a copy of what `kept` returned, as the sample was."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if isinstance(value, _Pickled):
        return pickle.loads(value.data)
    if type(value) is dict:
        return {key: given(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(given, value))
    if is_named_tuple(value):
        return type(value)(*map(given, value))
    return value


def bytes_in(sample: Tree) -> int:
    """Return the bytes of a sample or a batch: of all but numbers what Python says of them."""
    if isinstance(sample, Tensor | np.ndarray):
        return int(sample.nbytes)
    if isinstance(sample, Mapping):
        return sys.getsizeof(sample) + sum(map(bytes_in, sample.values()))
    if is_sequence(sample):
        return sys.getsizeof(sample) + sum(map(bytes_in, sample))
    return sys.getsizeof(sample)


def differ(left: Tree, right: Tree) -> bool:
    """Return whether two results of `kept` differ, as far as they are not pickles."""
    if type(left) is not type(right):
        return True
    if isinstance(left, Tensor):
        return left.shape != right.shape or left.dtype != right.dtype or not _same_bits(left, right)
    if isinstance(left, np.ndarray):
        return bool(left.shape != right.shape or left.tobytes() != right.tobytes())
    if isinstance(left, dict):
        return left.keys() != right.keys() or any(differ(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) != len(right) or any(map(differ, left, right))
    return not isinstance(left, _Pickled) and repr(left) != repr(right)  # nan is not equal to nan


def _same_bits(left: Tensor, right: Tensor) -> bool:
    both = (tensor.contiguous().view(-1).view(torch.uint8) for tensor in (left, right))
    return bool(torch.equal(*both))


class SampleStore:
    """Samples by their ids. Who uses it holds a lock."""

    def __init__(self, max_bytes: int, *, policy: CachePolicy, copy: bool) -> None:
        self.max_bytes, self.nbytes, self.num_evicted = max_bytes, 0, 0
        self._policy, self._copy = policy, copy
        self._samples: OrderedDict[int, tuple[Tree, int]] = OrderedDict()

    @property
    def num_kept(self) -> int:
        return len(self._samples)

    def get(self, id_: int) -> tuple[Tree] | None:
        """Return a sample, in a tuple since it may be anything; None if it is not here."""
        found = self._samples.get(id_)
        if found is None:
            return None
        if self._policy is CachePolicy.lru:
            self._samples.move_to_end(id_)
        return (given(found[0]) if self._copy else found[0],)

    def put(self, id_: int, sample: Tree) -> None:
        """Keep a sample if it has room, or can be made to have it."""
        try:
            copy, size = kept(sample)
        except Exception:  # noqa: BLE001 - what cannot be pickled is not kept, whatever it raises
            return
        size += ENTRY_BYTES
        if id_ in self._samples or size > self.max_bytes:
            return
        if self._policy is CachePolicy.first and self.nbytes + size > self.max_bytes:
            return
        while self.nbytes + size > self.max_bytes:
            _, (_, old) = self._samples.popitem(last=False)
            self.nbytes -= old
            self.num_evicted += 1
        self._samples[id_] = (copy if self._copy else sample, size)
        self.nbytes += size
