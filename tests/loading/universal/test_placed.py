"""A part that names samples several times gives each as often, and draws anew for each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset, TensorDataset

from chirpid.data.samplers import DistributedSampler, SequentialSampler, WeightedSampler
from chirpid.errors import ConfigError
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.module import UniversalDataModule
from chirpid.loading.universal.placed import Placed
from tests.anydata import Noisy, Squares
from tests.examples import examples
from tests.loading.universal.test_loader import WAYS, X, Y, epoch_of, same

OFTEN = [4, 4, 1, 4, 0, 9, 1, 4, 4]
IDS = st.lists(st.integers(0, 9), min_size=1, max_size=30)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    "dataset", [Squares(), TensorDataset(X, Y), Subset(Squares(), range(40, 20, -2))], ids=type
)
def test_in_order_it_comes_as_from_torchs_loader(dataset: Any, way: dict[str, Any]) -> None:
    part = Subset(dataset, OFTEN)
    ours = epoch_of(part, batch_size=4, shuffle=False, **way)
    assert same(ours, list(DataLoader(part, 4)))


@settings(max_examples=examples(25))
@given(ids=IDS, size=st.integers(1, 9), seed=st.integers(0, 2**63), done=st.integers(0))
def test_shuffled_each_comes_as_often_as_it_is_named_and_resumed_the_same(
    ids: list[int], size: int, seed: int, done: int
) -> None:
    part = Subset(Noisy(10), ids)
    whole = make_loader(part, size, seed=seed, backend="inline")
    first, second = list(whole), list(whole)
    for epoch in (first, second):
        assert Counter(torch.cat([batch["y"] for batch in epoch]).tolist()) == Counter(ids)
    drawn = torch.cat([batch["x"] for batch in [*first, *second]])
    assert len(drawn[:, 0].unique()) == 2 * len(ids), "each place draws its own in each epoch"
    done %= len(first) + 1
    passing = iter(whole := make_loader(part, size, seed=seed, backend="inline"))
    for _ in range(done):
        next(passing)
    again = make_loader(part, size, seed=seed, backend="inline")
    again.load_state_dict(whole.state_dict())
    assert same([*first[:done], *again], first)
    assert same(list(again), second)


@pytest.mark.parametrize("way", WAYS[2:], ids=str)
def test_whoever_makes_it_draws_the_same(way: dict[str, Any]) -> None:
    one, other = (epoch_of(Subset(Noisy(), OFTEN), batch_size=2, **w) for w in (WAYS[0], way))
    assert same(one, other)


def test_what_a_place_draws_does_not_depend_on_the_order() -> None:
    part = Subset(Noisy(10), OFTEN)
    drawn = [
        torch.cat([batch["x"] for batch in epoch_of(part, shuffle=shuffle)])[:, 0].sort().values
        for shuffle in (True, False)
    ]
    assert drawn[0].equal(drawn[1])


def test_a_sampler_counts_the_places() -> None:
    sampler = WeightedSampler([0, 0, 1, 0, 0, 0, 1, 0, 0], 10, num_samples=10, seed=0)
    (batch,) = epoch_of(Subset(Noisy(10), OFTEN), sampler=sampler)
    assert batch["y"].tolist() == [1] * 10
    assert len(batch["x"][:, 0].unique()) == 10


def test_ranks_draw_differently_for_the_same_sample() -> None:
    shares = [
        Placed(DistributedSampler(SequentialSampler(9, 3), rank, 2), np.array(OFTEN))
        for rank in range(2)
    ]
    named = [
        (int(row), int(turn))
        for share in shares
        for ids, turns in zip(share.batches(0), share.repeats(0), strict=True)
        for row, turn in zip(ids, turns, strict=True)
    ]
    assert len(named) == len(set(named)) == 10


def test_the_last_that_make_no_batch_are_left_out() -> None:
    loader = make_loader(Subset(Squares(), OFTEN), 4, drop_last=True)
    assert len(loader) == len(list(loader)) == 2
    assert len(loader.dataset) == 9


def test_samples_that_cannot_be_made_are_counted_as_often_as_they_are_named() -> None:
    class Broken(Squares):
        def __getitem__(self, index: int) -> dict[str, Any]:
            if index == 4:
                raise OSError("it is damaged")
            return super().__getitem__(index)

    loader: Any = make_loader(Subset(Broken(), OFTEN), 9, shuffle=False, on_bad="skip")
    (batch,) = loader
    assert batch["square"].tolist() == [1, 0, 81, 1]
    assert (loader.num_skipped, list(loader.skipped)) == (5, [4])


def test_the_state_of_another_choice_of_samples_is_refused() -> None:
    state = make_loader(Subset(X, [0, 0, 1]), 2).state_dict()
    with pytest.raises(ConfigError, match="The state is of"):
        make_loader(Subset(X, [0, 1, 1]), 2).load_state_dict(state)


def test_a_sample_that_comes_several_times_is_not_on_both_sides_of_a_split() -> None:
    part = Subset(Squares(), [0, 0, 1, 1, 2, 2, 3, 3])
    with pytest.raises(ConfigError, match=r"would be trained on and held out\. Give group=subset"):
        UniversalDataModule(part, batch_size=2, val_fraction=0.5)
    module = UniversalDataModule(part, batch_size=2, val_fraction=0.5, group=part.indices)
    train, held = (
        Counter(square for batch in loader for square in batch["square"].tolist())
        for loader in (module.train_dataloader(), module.val_dataloader())
    )
    assert train + held == Counter([0, 0, 1, 1, 4, 4, 9, 9])
    assert not set(train) & set(held)
