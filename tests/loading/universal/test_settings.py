"""What a user gives by mistake is named in one line, and what is given is what is done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset, WeightedRandomSampler

from chirpid.data.samplers import SequentialSampler
from chirpid.errors import ConfigError, DataError
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.module import UniversalDataModule
from chirpid.loading.universal.telling import explain
from tests.anydata import Squares, Stream

ROWS = TensorDataset(torch.arange(10))


@pytest.mark.parametrize("dataset", [Squares(9), ROWS, Stream(9)], ids=type)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"device": "gpu"}, "device='gpu' is none that torch knows"),
        ({"device": f"cuda:{torch.cuda.device_count()}"}, "GPUs here"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"num_workers": "2"}, "num_workers='2' is out of range"),
        ({"num_workers": 1.5}, "num_workers=1.5 is out of range"),
        ({"prefetch": 2.0}, "prefetch=2.0 is out of range"),
    ],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_mistake_is_named(dataset: Any, given: dict[str, Any], said: str, shuffle: bool) -> None:
    with pytest.raises(ConfigError, match=said):
        make_loader(dataset, shuffle=shuffle, **given)


@pytest.mark.parametrize("sampler", [WeightedRandomSampler([1.0] * 9, 9), [[1, 2], [3]]], ids=type)
def test_a_sampler_that_is_none_of_ours_is_named(sampler: Any) -> None:
    with pytest.raises(ConfigError, match=f"sampler is a {type(sampler).__name__}"):
        make_loader(Squares(9), sampler=sampler)


def test_a_batch_size_is_looked_at_beside_a_sampler() -> None:
    none: Any = None
    with pytest.raises(ConfigError, match="batch_size is None"):
        make_loader(Squares(9), none, sampler=SequentialSampler(9, 4))


def test_numbers_of_numpy_are_numbers() -> None:
    numbers: dict[str, Any] = {
        "batch_size": np.int64(4), "seed": np.int64(3), "num_workers": np.int32(0),
    }  # fmt: skip
    with make_loader(Squares(9), **numbers) as loader:
        assert len(list(loader)) == 3


@pytest.mark.parametrize(
    ("given", "num_workers", "said"),
    [
        ({"backend": "processes"}, 1, []),
        ({"backend": "processes", "num_workers": 0}, 0,
         ["backend processes -> inline: num_workers is 0"]),
        ({"backend": "inline", "num_workers": 1}, 0,
         ["num_workers 1 -> 0: backend inline reads in the caller"]),
    ],
)  # fmt: skip
def test_a_stream_is_read_by_whom_it_was_asked_for(
    given: dict[str, Any], num_workers: int, said: list[str]
) -> None:
    heard: list[str] = []
    loader: Any = make_loader(Stream(9), say=heard.append, **given)
    assert (loader.num_workers, heard) == (num_workers, said)


@pytest.mark.parametrize("data", [ROWS, Squares(10), [torch.zeros(3)] * 10], ids=type)
def test_the_dataset_of_a_loader_has_as_many_samples_as_it_loads(data: Any) -> None:
    part: Any = Subset(data, [1, 4, 7])
    with make_loader(part, 2) as loader:
        assert len(loader.dataset) == 3
    with make_loader(data, 2) as loader:
        assert len(loader.dataset) == 10


@pytest.mark.parametrize("given", [DataLoader(ROWS), UniversalDataModule(ROWS)], ids=type)
def test_only_loaders_of_ours_are_explained(given: Any) -> None:
    with pytest.raises(ConfigError, match=f"{type(given).__name__} is no loader of ours"):
        explain(given)


@pytest.mark.parametrize("given", [DataLoader(ROWS), make_loader(ROWS)], ids=type)
def test_a_loader_is_no_dataset(given: Any) -> None:
    with pytest.raises(ConfigError, match="makes batches already"):
        make_loader(given)


def test_a_dict_of_lists_is_told_what_it_should_hold() -> None:
    with pytest.raises(DataError, match=r"holds columns, and 'b' is a list.*numpy\.asarray"):
        make_loader({"a": np.arange(3), "b": [1, 2, 3]})


def test_a_dict_of_numbered_samples_is_a_dataset() -> None:
    with make_loader({0: 5.0, 1: 6.0}, 2, shuffle=False) as loader:
        assert [batch.tolist() for batch in loader] == [[5.0, 6.0]]
