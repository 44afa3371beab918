"""Modules and loaders of torch: taken over with the same batches, or handed out and named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from chirpid.errors import ConfigError
from chirpid.loading.universal.module import DataModule, UniversalDataModule
from chirpid.loading.universal.passes import Passes
from tests.loading.universal.module_sets import IDS, NUM, Items, Stream, ids_of


class Theirs:
    """A module of somebody else: nothing but the methods."""

    def __init__(self, train: Any, val: Any = None) -> None:
        self.train, self.val = train, val

    def train_dataloader(self) -> Any:
        return self.train

    def val_dataloader(self) -> Any:
        return self.val if self.val is not None else DataLoader(TensorDataset(IDS), batch_size=3)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert not state


def test_anything_with_the_methods_is_a_data_module() -> None:
    assert isinstance(Theirs(None), DataModule)
    assert isinstance(UniversalDataModule(IDS), DataModule)
    assert not isinstance(DataLoader(TensorDataset(IDS)), DataModule)
    with pytest.raises(ConfigError, match="no train_dataloader"):
        UniversalDataModule.of(IDS)


def test_loaders_of_torch_that_do_not_shuffle_give_the_same_batches() -> None:
    part = Subset(TensorDataset(torch.arange(50), torch.ones(50)), range(10, 41))
    for theirs in (
        DataLoader(part, batch_size=4),
        DataLoader(part, batch_size=4, drop_last=True),
        DataLoader(
            part, batch_size=4, collate_fn=lambda samples: torch.stack([s[0] for s in samples])
        ),
        DataLoader(part, batch_sampler=BatchSampler(range(7), 3, drop_last=False)),
        DataLoader(part, batch_sampler=[[3, 3], [0], [30, 2, 5]]),
        DataLoader(Items(), batch_size=6),
    ):
        ours = UniversalDataModule.of(Theirs(theirs)).train_dataloader()
        assert isinstance(ours, Passes)
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert str(mine) == str(other)


def test_loaders_of_torch_that_shuffle_give_the_same_samples() -> None:
    dataset = TensorDataset(IDS)
    theirs = DataLoader(dataset, batch_size=3, shuffle=True)
    ours = UniversalDataModule.of(Theirs(theirs), seed=1).train_dataloader()
    first, second = ids_of(ours), ids_of(ours)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(ids_of(theirs))
    again = UniversalDataModule.of(Theirs(theirs), seed=1).train_dataloader()
    assert ids_of(again) == first


@pytest.mark.parametrize(
    "sampler",
    [
        WeightedRandomSampler(torch.arange(NUM).double().tolist(), 12),
        RandomSampler(range(NUM), replacement=True, num_samples=9),
        SequentialSampler(range(7)),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_samplers_of_torch_are_asked_once_an_epoch_and_can_be_resumed(sampler: Any) -> None:
    torch.manual_seed(0)
    theirs = Theirs(DataLoader(TensorDataset(IDS), batch_size=4, sampler=sampler))
    before = torch.get_rng_state()
    module = UniversalDataModule.of(theirs, seed=5)
    loader = module.train_dataloader()
    epochs = [[b[0].tolist() for b in loader] for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(map(len, epochs[0])) == len(sampler)
    if not isinstance(sampler, SequentialSampler):
        assert epochs[0] != epochs[1]
    first = UniversalDataModule.of(theirs, seed=5)
    next(iter(first.train_dataloader()))
    second = UniversalDataModule.of(theirs, seed=5)
    second.load_state_dict(first.state_dict())
    assert [b[0].tolist() for b in second.train_dataloader()] == epochs[0][1:]
    with pytest.raises(ConfigError, match="seed 5"):
        UniversalDataModule.of(theirs, seed=6).load_state_dict(first.state_dict())


def test_what_cannot_be_taken_over_is_handed_out_and_named() -> None:
    class Own(DataLoader[Any]):
        pass

    said: list[str] = []
    given = {
        "stream": DataLoader(Stream(), batch_size=2),
        "own": Own(TensorDataset(IDS)),
        "single": DataLoader(TensorDataset(IDS), batch_size=None),
        "list": [[1, 2]],
        "init": DataLoader(TensorDataset(IDS), batch_size=2, worker_init_fn=print),
    }
    module = UniversalDataModule.of(Theirs(given), say=said.append)
    made = module.train_dataloader()
    assert list(made) == list(given)
    assert [made[name] is given[name] for name in given] == [True, True, True, False, False]
    assert made["list"] == [[1, 2]]
    assert len(said) == 6
    assert "worker_init_fn is left out" in said[-1]
    assert [sorted(ids_of(made["init"]))] == [IDS.tolist()]


def test_batches_that_are_no_lists_of_numbers_are_refused() -> None:
    theirs = DataLoader(Items(), batch_sampler=[["a", "b"]])
    with pytest.raises(ConfigError, match="no lists of whole numbers"):
        UniversalDataModule.of(Theirs(theirs)).train_dataloader()
