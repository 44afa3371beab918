"""Rows are read bit by bit from where they lie, by any ids, and none is written past its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from chirpid import native
from chirpid.data.general.columns import Columns
from chirpid.data.wrap.vectorized import VectorizedDataset
from tests.at_once import at_once
from tests.data.wrap.alike import same

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
]  # fmt: skip
SHAPES = [(), (1,), (3,), (4,), (2, 3), (0,)]


def numbers(num_rows: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Bytes of every kind, those of numbers that are none among them."""
    generator = torch.Generator().manual_seed(num_rows)
    if dtype is torch.bool:
        return torch.randint(0, 2, (num_rows, *shape), generator=generator).bool()
    flat = torch.randint(0, 256, (num_rows, *shape, dtype.itemsize), generator=generator)
    return flat.to(torch.uint8).view(dtype)[..., 0]


@pytest.fixture(params=["library", "no library"])
def _with_and_without_library(request: pytest.FixtureRequest, monkeypatch: Any) -> None:
    if request.param == "no library":
        monkeypatch.setattr(native, "handle", lambda: None)


@pytest.mark.usefixtures("_with_and_without_library")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_of_every_type_and_shape_come_bit_by_bit(dtype: torch.dtype) -> None:
    ids = np.array([4, 0, 6, 6, 1])
    for shape in SHAPES:
        rows = numbers(7, shape, dtype)
        dataset = VectorizedDataset(rows)
        batch = dataset.layout.empty(5)
        dataset.read_into(ids, batch)
        assert same(batch.tensors[0], rows[torch.from_numpy(ids)]), shape


@pytest.mark.usefixtures("_with_and_without_library")
def test_rows_that_do_not_lie_together_are_read_where_they_lie() -> None:
    wide = torch.arange(60.0).view(6, 10)
    for rows in (wide[:, ::3], wide.T, wide[::2], wide[:, 1:2].expand(6, 4), wide[1:4]):
        dataset = VectorizedDataset(rows)
        assert same(dataset[[2, 0, 1]], rows[torch.tensor([2, 0, 1])])
        assert dataset.columns.tensors[0].data_ptr() == rows.data_ptr()


def test_rows_that_begin_between_words_are_read_as_well() -> None:
    rows = torch.arange(41, dtype=torch.uint8)[1:].view(10, 4)
    assert same(VectorizedDataset(rows)[[9, 0]], rows[[9, 0]])


@pytest.mark.usefixtures("_with_and_without_library")
def test_ids_outside_are_refused_and_nothing_is_written() -> None:
    dataset = VectorizedDataset((torch.ones(4, 2), torch.ones(4, 1, dtype=torch.uint8)))
    batch = Columns(dataset.layout.skeleton, [torch.zeros(2, 2), torch.zeros(2, 1).byte()])
    for bad in (4, -1, 2**40):
        with pytest.raises(IndexError, match="among the samples from 0 to 3"):
            dataset.read_into(np.array([0, bad]), batch)
        assert not batch.tensors[0].any()
    for index in (4, -5, [4], [-5]):
        with pytest.raises(IndexError):
            dataset[index]


@pytest.mark.usefixtures("_with_and_without_library")
def test_batch_that_is_too_small_is_not_written_past() -> None:
    dataset = VectorizedDataset(torch.ones(4, 2))
    memory = torch.zeros(4, 2)
    with pytest.raises((IndexError, ValueError, RuntimeError)):
        dataset.read_into(np.array([0, 1, 2]), Columns(dataset.layout.skeleton, [memory[:2]]))
    assert not memory[2:].any()


def test_ids_of_any_integer_type_and_order_in_memory_are_taken() -> None:
    x = torch.arange(10)
    dataset = VectorizedDataset(x)
    batch = dataset.layout.empty(3)
    fixed = np.array([1, 2, 3])
    fixed.flags.writeable = False
    for ids in (np.array([1, 2, 3], np.int32), np.arange(7)[1::2][:3], fixed):
        dataset.read_into(ids, batch)
        assert batch.tensors[0].tolist() == ids.tolist()
    assert dataset[x > 7].tolist() == [8, 9]
    assert dataset[torch.tensor(2)] == dataset[np.int64(2)] == 2
    assert dataset[[]].shape == (0,)
    with pytest.raises(TypeError):
        dataset[[0.5]]


def test_batches_of_another_kind_of_memory_are_filled_as_well() -> None:
    dataset = VectorizedDataset(torch.arange(12.0).view(4, 3))
    batch = Columns(dataset.layout.skeleton, [torch.zeros(3, 2).T])
    dataset.read_into(np.array([2, 1]), batch)
    assert batch.tensors[0].tolist() == [[6.0, 7.0, 8.0], [3.0, 4.0, 5.0]]


def test_large_batches_are_shared_among_threads_and_the_same() -> None:
    x = torch.randn(500, 700)
    ids = torch.randperm(500).numpy()
    assert same(VectorizedDataset(x)[ids], x[ids])


@pytest.mark.parametrize("shared_by", ["itself", "its holder"])
def test_rows_that_move_to_shared_memory_are_read_where_they_are_now(shared_by: str) -> None:
    x = torch.randn(5, 2)
    dataset = VectorizedDataset(x)
    before = dataset[[0, 4]]
    if shared_by == "itself":
        assert dataset.share_memory_() is dataset
    else:
        x.share_memory_()
    assert dataset.columns.tensors[0].is_shared()
    assert same(dataset[[0, 4]], before)
    loader = DataLoader(dataset, batch_size=5, num_workers=1)
    assert same(next(iter(loader)), x)


def test_threads_may_read_at_once() -> None:
    x = torch.arange(1000)
    dataset, bad = VectorizedDataset(x), []

    def read(seed: int) -> None:
        ids = np.random.default_rng(seed).integers(0, 1000, (200, 32))
        batch = dataset.layout.empty(32)
        for row in ids:
            dataset.read_into(row, batch)
            bad.extend(row[batch.tensors[0].numpy() != row])

    at_once(read, 4)
    assert not bad


def test_one_sample_cut_out_of_others_is_read_like_any() -> None:
    column = torch.arange(6, dtype=torch.int16)[::2][1:2]
    kept = VectorizedDataset(column)
    out = kept.layout.empty(2)
    kept.read_into(np.array([0, 0]), out)
    assert out.tensors[0].tolist() == [2, 2]
