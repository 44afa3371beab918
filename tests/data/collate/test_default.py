"""The default collator is torch's own, to the bit and to the type."""

from __future__ import annotations

import pickle
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from chirpid.data.collate import DefaultCollator
from chirpid.errors import DataError
from tests.examples import examples

collate = DefaultCollator()
Point = namedtuple("Point", ["x", "y"])
NUMPY = ("bool", "uint8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64")


def same(ours: Any, theirs: Any) -> None:
    """Check that two batches are of the same types and the same bits."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, Tensor):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.is_contiguous() == theirs.is_contiguous()
        assert ours.numpy().tobytes() == theirs.numpy().tobytes()
    elif isinstance(theirs, (dict, UserDict, MappingProxyType)):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple, deque)):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            same(our, their)
    else:
        assert ours == theirs


shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
leaves = st.one_of(
    st.tuples(st.just("array"), st.sampled_from(NUMPY), shapes),
    st.tuples(st.just("tensor"), st.sampled_from(NUMPY), shapes),
    st.tuples(st.just("scalar"), st.sampled_from(NUMPY), st.just(())),
    st.tuples(st.sampled_from(["int", "float", "bool", "str", "bytes", "mixed"])),
)
trees = st.recursive(
    leaves,
    lambda below: st.one_of(
        st.tuples(
            st.sampled_from(["dict", "ordered", "default", "user", "proxy"]),
            st.dictionaries(st.sampled_from("abcd"), below, max_size=3),
        ),
        st.tuples(st.sampled_from(["list", "tuple", "deque"]), st.lists(below, max_size=3)),
        st.tuples(st.just("point"), st.lists(below, min_size=2, max_size=2)),
    ),
    max_leaves=8,
)
MAKE = {
    "dict": dict, "ordered": OrderedDict, "user": UserDict, "proxy": MappingProxyType,
    "default": lambda values: defaultdict(int, values), "list": list, "tuple": tuple,
    "deque": deque, "point": lambda values: Point(*values),
}  # fmt: skip


def made(tree: Any, draw: np.random.Generator, n: int) -> Any:
    """Return a sample of this make, with numbers of its own."""
    kind, *rest = tree
    if kind in MAKE:
        (below,) = rest
        if isinstance(below, dict):
            return MAKE[kind]({key: made(value, draw, n) for key, value in below.items()})
        return MAKE[kind]([made(value, draw, n) for value in below])
    if rest:
        dtype, shape = rest
        array = (draw.random(shape) * 200).astype(dtype)
        if kind == "scalar":
            return np.dtype(dtype).type(array)
        return array if kind == "array" else torch.from_numpy(np.asarray(array))
    number = draw.integers(-(2**62), 2**62)
    return {
        "int": int(number), "float": draw.normal(), "bool": bool(number % 2), "str": f"é{number}",
        "bytes": str(number).encode(), "mixed": (True, int(number % 9), 1.5)[n % 3],
    }[kind]  # fmt: skip


@given(trees, st.integers(1, 5), st.integers(0, 2**32))
@settings(max_examples=examples(150), deadline=None)
def test_a_batch_is_that_of_torch_to_the_bit(tree: Any, num_samples: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    samples = [made(tree, draw, n) for n in range(num_samples)]
    same(collate(samples), default_collate(samples))


@given(trees, st.integers(1, 5), st.integers(0, 2), st.integers(0, 2**32))
@settings(max_examples=examples(80), deadline=None)
def test_a_batch_written_over_another_is_the_same(
    tree: Any, num_samples: int, num_more: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    # A number that changes its type has no place in memory of one type.
    assume("mixed" not in str(tree))
    out = collate([made(tree, draw, n) for n in range(num_samples + num_more)])
    samples = [made(tree, draw, n) for n in range(num_samples)]
    same(collate(samples, out=out), default_collate(samples))


def test_memory_of_an_earlier_batch_is_used_again() -> None:
    samples = [{"a": np.ones((2, 3), np.float32), "b": torch.ones(4), "c": n} for n in range(4)]
    first = collate(samples)
    again = collate(samples[:3], out=first)
    for key in first:
        assert again[key].data_ptr() == first[key].data_ptr(), key
        assert len(again[key]) == 3


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ({"a": torch.ones(3)}, "out holds float32 [2] at sample['a'], and the batch is 2 rows of "
                               "float32 [3]"),
        ({"a": torch.ones(2, dtype=torch.int64)}, "2 rows of int64 [2]"),
        ({"a": np.ones(2)}, "2 rows of float64 [2]"),
        ({"b": torch.ones(2)}, "out has nothing at sample['b']"),
    ],
)  # fmt: skip
def test_memory_that_does_not_fit_is_refused(sample: Any, told: str) -> None:
    out = collate([{"a": torch.zeros(2)}] * 2)
    with pytest.raises(DataError) as error:
        collate([sample] * 2, out=out)
    assert told in str(error.value)
    assert not out["a"].any()


def test_memory_of_too_few_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"out holds 2 rows at sample, and the batch is 3 rows"):
        collate([1, 2, 3], out=collate([1, 2]))


def test_mixed_types_do_not_slip_into_memory_of_one_type() -> None:
    out = collate([torch.zeros(2)] * 2)
    with pytest.raises(DataError, match="not all are float32"):
        collate([torch.ones(2), torch.ones(2, dtype=torch.float64)], out=out)


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (
            [(torch.ones(4), 0), (torch.ones(4), 0), (torch.ones(3), 1)],
            "sample[0] has shape [4] in sample 0 of the batch and [3] in sample 2 (2 of them in 3 "
            'samples). default pads nothing: resize it in the dataset, or take collate="pad"',
        ),
        ([{"a": {"b": np.ones((2, 3))}}, {"a": {"b": np.ones((3, 2))}}], "sample['a']['b'] has "
         "shape [2, 3]"),
        ([{"ids": [1, 2]}, {"ids": [1, 2, 3]}], "sample['ids'] has 2 items in sample 0 of the "
         'batch and 3 in sample 1. collate="pad" pads'),
        ([1, None], "sample is int in sample 0 of the batch and NoneType in sample 1"),
        ([{"a": None}], "sample['a'] is NoneType, which makes no tensor"),
        ([{"a": 1, "b": 2}, {"a": 1}], "sample['b'] is in sample 0 of the batch and not in sample "
         "1, which has 'a'"),
        ([(1, 2), 3], "sample is a tuple in sample 0 of the batch and int in sample 1"),
        ([np.array(["x"])], "makes no tensor"),
        ([np.ones(2, ">f4")], "byte order"),
        ([], "A batch of no samples"),
    ],
)  # fmt: skip
def test_what_makes_no_batch_is_named_in_one_line(samples: list[Any], told: str) -> None:
    with pytest.raises(DataError) as error:
        collate(samples)
    assert told in str(error.value)
    assert "\n" not in error.value.line()


def test_arrays_of_unlike_length_are_not_cut_anew() -> None:
    """Laid end to end, 3 + 5 + 4 numbers would be three rows of 4."""
    with pytest.raises(DataError, match=r"has shape \[3\] in sample 0 of the batch and \[5\]"):
        collate([np.arange(3), np.arange(5), np.arange(4)])


@pytest.mark.parametrize(
    "samples",
    [
        [np.ones(2, np.int64), np.ones(2, np.float32)],
        [np.float32(1.5), np.float64(2.5)],
        [1, 2.5],
        [True, 2],
    ],
)
def test_mixed_types_become_what_torch_makes_of_them(samples: list[Any]) -> None:
    same(collate(samples), default_collate(samples))


def test_gradients_go_through_as_in_torch() -> None:
    weights = [torch.ones(2, requires_grad=True) for _ in range(2)]
    collate(weights).sum().backward()
    assert weights[1].grad is not None


def test_arrays_that_torch_would_warn_of_or_refuse_are_taken() -> None:
    backward, locked = np.arange(3)[::-1], np.arange(3)
    locked.flags.writeable = False  # torch warns of it, and warnings are errors here
    assert collate([backward, locked]).tolist() == [[2, 1, 0], [0, 1, 2]]


class Few(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, n: int) -> Any:
        return {"a": np.full(5, n, np.float32), "t": torch.full((2,), n), "n": n, "s": str(n)}


def test_worker_processes_deliver_the_same() -> None:
    copy = pickle.loads(pickle.dumps(collate))
    ours = list(DataLoader(Few(), batch_size=4, num_workers=1, collate_fn=copy))
    theirs = list(DataLoader(Few(), batch_size=4))
    for our, their in zip(ours, theirs, strict=True):
        same(our, their)
