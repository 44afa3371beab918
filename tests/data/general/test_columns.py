"""Batches in kept memory: the layout is what torch would make, and what is held is left alone."""

from __future__ import annotations

import gc
import mmap

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from chirpid.data.general.columns import Columns, Layout, Leaf, layout_of, leaf_of

DTYPES = [
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.bool, torch.complex64,
]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [True, 3, 2.5, np.float32(1), np.int16(2), np.bool_(True), np.zeros((2, 3), np.float16),
     np.zeros((0, 4)), torch.zeros(3, dtype=torch.bfloat16), torch.tensor(1j)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_leaf_is_what_torchs_collate_makes_of_it(value: object) -> None:
    batch = default_collate([value, value])
    assert leaf_of(value) == Leaf(batch.dtype, tuple(batch.shape[1:]))


@pytest.mark.parametrize(
    "value",
    ["text", b"bytes", None, 2**70, object(), np.array(["a"]), np.array([1], dtype=object),
     np.zeros(2, dtype=">f4"), torch.zeros(2, 2).to_sparse()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_plain_number_is_no_leaf(value: object) -> None:
    assert leaf_of(value) is None


def test_samples_that_differ_in_shape_type_or_structure_have_no_layout() -> None:
    assert layout_of([torch.zeros(3), torch.zeros(4)]) is None
    assert layout_of([torch.zeros(3), torch.zeros(3, dtype=torch.int64)]) is None
    assert layout_of([{"a": 1}, {"b": 1}]) is None
    assert layout_of([1, "one"]) is None
    assert layout_of([]) is None
    assert layout_of([(1, 2.0), (3, 4.0)]) is not None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_lent_memory_is_in_use_as_long_as_any_view_of_it(dtype: torch.dtype) -> None:
    columns = Layout((Leaf(dtype, (4,)),)).empty(8)
    assert not columns.is_lent()
    view = columns.lend()[2:4]
    gc.collect()
    assert columns.is_lent()
    assert view.dtype == dtype
    if dtype is not torch.bfloat16:
        view = view.numpy()  # the array holds what the tensor held
        gc.collect()
        assert columns.is_lent()
    del view
    gc.collect()
    assert not columns.is_lent()


def test_lent_memory_is_in_use_by_what_a_backward_pass_still_needs() -> None:
    columns = Layout((Leaf(torch.float32, (4,)),)).empty(8)
    weight = torch.ones(4, requires_grad=True)
    loss = (columns.lend() * weight).sum()
    assert columns.is_lent()
    loss.backward()
    del loss
    gc.collect()
    assert not columns.is_lent()


def test_a_part_that_is_lent_holds_the_whole() -> None:
    columns = Layout((Leaf(torch.float32),)).empty(8)
    first, _ = columns[:6].split([2, 4])
    held = first.lend()
    assert columns.is_lent()
    del held, first
    assert not columns.is_lent()


def test_batches_over_a_map_lie_in_it_whatever_their_types() -> None:
    leaves = tuple(Leaf(dtype, (3,)) for dtype in DTYPES)
    layout = Layout(leaves)
    room = mmap.mmap(-1, 64 + layout.slot_bytes(5))
    one, other = layout.over(room, 64, 5), layout.over(room, 64, 5)
    for tensor in one.tensors:
        tensor.fill_(1)
    assert all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))
    assert bytes(room[:64]) == bytes(64)


def test_rows_without_numbers_can_lie_in_a_map() -> None:
    layout = Layout((Leaf(torch.float32, (0,)), Leaf(torch.int64)))
    batch = layout.over(mmap.mmap(-1, layout.slot_bytes(4)), 0, 4)
    assert [tuple(t.shape) for t in batch.tensors] == [(4, 0), (4,)]


def test_the_bytes_of_a_batch_are_those_of_its_rows() -> None:
    layout = Layout((Leaf(torch.float16, (3, 2)), Leaf(torch.int64)))
    batch: Columns = layout.empty(7)
    assert batch.nbytes == 7 * layout.batch_row_bytes == 7 * 20
