"""What is kept is what the dataset gives, and what cannot be kept is left as it is and said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from chirpid.data.wrap import CachedDataset, VectorizedDataset
from chirpid.errors import ConfigError, DataError
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.optimize import optimize_dataset
from tests.anydata import Broken, Noisy, Ragged, Squares, Stream
from tests.loading.universal.test_loader import same


class Counting(Squares):
    """Counts how often each sample is made."""

    def __init__(self, num: int = 50) -> None:
        super().__init__(num)
        self.made = [0] * num

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.made[index] += 1
        return super().__getitem__(index)


def test_samples_are_made_once_and_come_as_before_from_any_loader() -> None:
    said: list[str] = []
    dataset = Counting()
    kept = optimize_dataset(dataset, say=said.append)
    made = list(dataset.made)
    assert isinstance(kept, VectorizedDataset)
    expected = list(DataLoader(Squares(), 8))
    assert same(list(DataLoader(kept, 8)), expected)
    assert same(list(make_loader(kept, 8, shuffle=False)), expected)
    assert dataset.made == made
    assert len(said) == 1
    assert said[0].startswith("optimize_dataset keeps 50 samples in ")


def test_without_preloading_samples_are_made_when_they_are_first_asked_for() -> None:
    dataset = Counting()
    kept = optimize_dataset(dataset, preload=False)
    assert isinstance(kept, CachedDataset)
    before = list(dataset.made)
    for _ in range(3):
        kept[7]
    assert dataset.made[7] <= before[7] + 1
    assert dataset.made[8] == before[8]


def test_what_is_larger_than_memory_is_kept_in_part_and_said() -> None:
    said: list[str] = []
    kept = optimize_dataset(Squares(5000), max_memory_usage="80 kB", say=said.append)
    assert isinstance(kept, CachedDataset)
    assert "the samples asked for first" in said[0]
    assert same(list(DataLoader(kept, 64)), list(DataLoader(Squares(5000), 64)))


def test_samples_that_draw_are_left_as_they_are() -> None:
    said: list[str] = []
    dataset = Noisy()
    assert optimize_dataset(dataset, say=said.append) is dataset
    assert "would be the same for ever" in said[0]


def test_samples_of_no_fixed_shape_are_kept_one_by_one() -> None:
    kept = optimize_dataset(Ragged(9))
    assert isinstance(kept, CachedDataset)
    assert [kept[i]["name"] for i in range(9)] == [f"sample {i}" for i in range(9)]


def test_columns_are_taken_as_they_lie() -> None:
    x = torch.randn(9, 3)
    kept = optimize_dataset(TensorDataset(x))
    assert kept.columns.tensors[0].data_ptr() == x.data_ptr()
    assert optimize_dataset(kept) is kept


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ConfigError, match="stream cannot be kept"):
        optimize_dataset(Stream())
    with pytest.raises(DataError, match="no samples"):
        optimize_dataset(Squares(0))
    with pytest.raises(OSError, match="is damaged"):
        optimize_dataset(Broken(), num_workers=0)
