"""Samples written to rows are what torch's collate makes of them, or are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import default_collate

from chirpid.data.general.columns import Columns, layout_of
from chirpid.data.general.fill import fill
from chirpid.data.general.trees import map_leaves
from chirpid.errors import DataError
from tests.data.general.test_trees import alike

KINDS = ["float32", "float64", "int16", "uint8", "bool", "float16", "complex64"]


def leaf(draw: st.DrawFn) -> list[object]:
    """Three values of one kind."""
    kind = draw(st.sampled_from(["int", "float", "bool", "tensor", "array", "scalar"]))
    if kind in ("int", "float", "bool"):
        of = {"int": st.integers(-(2**40), 2**40), "float": st.floats(), "bool": st.booleans()}
        return [draw(of[kind]) for _ in range(3)]
    dtype, shape = draw(st.sampled_from(KINDS)), draw(st.sampled_from([(), (2,), (0,), (2, 3)]))
    if kind == "scalar":
        return [np.dtype(dtype).type(k) for k in range(3)]
    arrays = [np.full(shape, k).astype(dtype) for k in range(3)]
    return [torch.from_numpy(a) for a in arrays] if kind == "tensor" else list(arrays)


@st.composite
def samples(draw: st.DrawFn) -> list[object]:
    a, b, c = leaf(draw), leaf(draw), leaf(draw)
    shape = draw(st.sampled_from(["lone", "pair", "dict", "nested"]))
    made = {
        "lone": lambda k: a[k],
        "pair": lambda k: (a[k], b[k]),
        "dict": lambda k: {"a": a[k], "b": b[k]},
        "nested": lambda k: {"a": a[k], "more": [b[k], (c[k], a[k])]},
    }[shape]
    return [made(k) for k in range(3)]


@given(samples())
def test_a_batch_is_that_of_torchs_collate_to_the_bit(three: list[object]) -> None:
    layout = layout_of(three)
    assert layout is not None
    out = layout.empty(3)
    fill(three, layout, out)
    ours, theirs = out.tree(), default_collate(three)
    assert alike(kinds(ours), kinds(theirs))
    assert alike(bits(ours), bits(theirs))


def kinds(tree: object) -> object:
    """The tree with empty tensors of the same types and shapes."""
    return map_leaves(tree, lambda leaf: torch.zeros(leaf.shape, dtype=leaf.dtype))


def bits(tree: object) -> object:
    """The tree with numbers as bytes, so that NaN is equal to itself."""
    return map_leaves(tree, lambda leaf: leaf.reshape(-1).view(torch.uint8))


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"x": torch.zeros(4), "y": 1}, r"x is float32 \[4\], not float32 \[3\]"),
        ({"x": torch.zeros(3).double(), "y": 1}, "x is float64"),
        ({"x": torch.zeros(3), "y": 1.5}, r"y is float64 \[\], not int64"),
        ({"x": torch.zeros(3), "y": True}, "y is bool"),
        ({"x": torch.zeros(3), "y": "one"}, "y is str"),
        ({"x": np.zeros(3), "y": 1}, "x is float64"),
        ({"x": torch.zeros(3)}, "of another structure"),
        ((torch.zeros(3), 1), "of another structure"),
        ({"x": torch.zeros(3), "y": [1]}, "y is list"),
        (5, "of another structure"),
        (torch.zeros(3), "of another structure"),
    ],
)
def test_a_sample_that_is_another_kind_is_refused_by_name(odd: object, said: str) -> None:
    usual = {"x": torch.zeros(3), "y": 1}
    layout = layout_of([usual])
    assert layout is not None
    with pytest.raises(DataError, match=f"Sample 7 is not like the others: .*{said}"):
        fill([usual, odd, usual], layout, layout.empty(3), [5, 7, 9])


def test_the_order_of_keys_does_not_count_however_deep() -> None:
    one = {"a": 1, "b": {"c": 2, "d": 3.0}}
    layout = layout_of([one])
    assert layout is not None
    out = layout.empty(2)
    fill([one, {"b": {"d": 5.0, "c": 4}, "a": 6}], layout, out)
    assert [tensor.tolist() for tensor in out.tensors] == [[1, 6], [2, 4], [3.0, 5.0]]


def test_samples_that_need_a_gradient_are_taken_by_value() -> None:
    sample = torch.ones(2, requires_grad=True)
    layout = layout_of([sample])
    assert layout is not None
    out = layout.empty(1)
    fill([sample * 2], layout, out)
    assert out.tensors[0].tolist() == [[2.0, 2.0]]
    assert not out.tensors[0].requires_grad


@pytest.mark.parametrize("of", [np.full, torch.full], ids=["arrays", "tensors"])
def test_rows_that_do_not_lie_side_by_side_are_written_all_the_same(of) -> None:
    rows = [of((2,), float(k)) for k in range(3)]
    layout = layout_of(rows[:1])
    assert layout is not None
    room = torch.zeros(3, 4, dtype=layout.leaves[0].dtype)
    fill(rows, layout, Columns(layout.skeleton, [room[:, 1:3]]))
    assert room.tolist() == [[0, k, k, 0] for k in range(3)]


@pytest.mark.parametrize("odd", [np.zeros(4), np.zeros(3, np.float32)], ids=["shape", "type"])
def test_an_array_that_is_unlike_the_first_is_refused(odd: np.ndarray) -> None:
    layout = layout_of([np.zeros(3)])
    assert layout is not None
    with pytest.raises(DataError, match="Sample 1 is not like the others"):
        fill([np.zeros(3), odd], layout, layout.empty(2))
