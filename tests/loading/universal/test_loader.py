"""Whatever makes the batches of a dataset, they are the same, and what is held is left alone."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset, TensorDataset

from chirpid.data.samplers import ClassBalancedSampler, WeightedSampler
from chirpid.errors import ConfigError
from chirpid.loading.universal.easy import make_loader
from tests.anydata import Noisy, Ragged, RarelyNoisy, Squares, pads
from tests.data.general.test_trees import alike
from tests.examples import examples

X, Y = torch.randn(70, 5, generator=torch.Generator().manual_seed(0)), torch.arange(70)
WAYS: list[dict[str, Any]] = [
    {"backend": "inline"},
    {"backend": "threads", "num_workers": 2, "prefetch": 1},
    {"backend": "processes", "num_workers": 1, "start_method": "fork"},
    {"backend": "processes", "num_workers": 2, "prefetch": 3, "start_method": "fork"},
]


def quiet(line: str) -> None:
    """Takes what is said."""


def epoch_of(dataset: Any, **settings: Any) -> list[Any]:
    with make_loader(dataset, **{"batch_size": 8, "say": quiet, **settings}) as loader:
        return list(loader)


def same(ones: list[Any], others: list[Any]) -> bool:
    return len(ones) == len(others) and all(map(alike, ones, others))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("num", [1, 7, 8, 50])
def test_batches_in_order_are_those_of_torchs_loader(way: dict[str, Any], num: int) -> None:
    assert same(epoch_of(Squares(num), shuffle=False, **way), list(DataLoader(Squares(num), 8)))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    "data",
    [TensorDataset(X, Y), X, X.numpy(), (X, Y), {"x": X, "more": (Y, X.double())},
     [(X[i], i) for i in range(20)], pd.DataFrame({"a": np.arange(9.0), "b": np.arange(9)}),
     Subset(TensorDataset(X, Y), range(3, 60, 2)), [X[i] for i in range(9)]],
    ids=["TensorDataset", "tensor", "array", "tuple", "dict", "list of tuples", "frame", "subset",
         "list of tensors"],
)  # fmt: skip
def test_whatever_holds_the_samples_they_come_in_its_structure(
    data: Any, way: dict[str, Any]
) -> None:
    items = data
    if isinstance(data, torch.Tensor | np.ndarray | tuple | dict):
        columns = data.values() if isinstance(data, dict) else data
        items = [row_of(data, i) for i in range(len(next(iter(columns))) if isinstance(data, tuple)
                 else 70)]  # fmt: skip
    elif isinstance(data, pd.DataFrame):
        items = data.to_dict("records")
    assert same(epoch_of(data, shuffle=False, **way), list(DataLoader(items, 8)))


def row_of(data: Any, i: int) -> Any:
    if isinstance(data, dict):
        return {key: row_of(value, i) for key, value in data.items()}
    return tuple(row_of(value, i) for value in data) if isinstance(data, tuple) else data[i]


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
@pytest.mark.parametrize(
    "dataset", [TensorDataset(X, Y), Squares(), Noisy(), RarelyNoisy(), Ragged()], ids=type
)
def test_two_shuffled_epochs_are_the_same_whoever_makes_them(
    dataset: Any, way: dict[str, Any]
) -> None:
    if isinstance(dataset, RarelyNoisy) and way["backend"] == "threads":
        pytest.skip("threads share the generators, and such draws are not foreseen")
    epochs = []
    for one in (WAYS[0], way):
        collate = pads if isinstance(dataset, Ragged) else None
        with make_loader(dataset, 8, collate=collate, say=quiet, seed=3, **one) as loader:
            epochs.append([list(loader), list(loader)])
    for ours, theirs in zip(*epochs, strict=True):
        assert same(ours, theirs)
    assert not same(*epochs[0]), "each epoch has an order of its own"


def test_workers_that_are_not_forked_make_the_same_batches() -> None:
    way = {"backend": "processes", "num_workers": 2, "start_method": "forkserver"}
    assert same(epoch_of(Noisy(20), **way), epoch_of(Noisy(20), backend="inline"))
    ragged = epoch_of(Ragged(20), collate=pads, **way)
    assert same(ragged, epoch_of(Ragged(20), collate=pads, backend="inline"))


@settings(max_examples=examples(25))
@given(
    num=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 2**63), done=st.integers(0)
)
def test_resuming_at_any_batch_equals_never_stopping(
    num: int, size: int, seed: int, done: int
) -> None:
    whole = make_loader(Noisy(num), size, seed=seed, backend="inline")
    first, second = list(whole), list(whole)
    done %= len(first) + 1
    part = make_loader(Noisy(num), size, seed=seed, backend="inline")
    passing = iter(part)
    for _ in range(done):
        next(passing)
    state = part.state_dict()
    again = make_loader(Noisy(num), size, seed=seed, backend="inline")
    again.load_state_dict(state)
    assert same([*first[:done], *again], first)
    assert same(list(again), second)


def test_a_state_goes_on_under_another_number_of_workers() -> None:
    first = epoch_of(Noisy())
    with make_loader(Noisy(), 8, say=quiet, **WAYS[3]) as loader:
        passing = iter(loader)
        for _ in range(3):
            next(passing)
        state = loader.state_dict()
    with make_loader(Noisy(), 8, backend="inline") as loader:
        loader.load_state_dict(state)
        assert same(list(loader), first[3:])


def test_a_state_of_other_settings_is_refused() -> None:
    state = make_loader(X, 8, seed=1).state_dict()
    with pytest.raises(ConfigError, match=r"The state is of .*seed=1"):
        make_loader(X, 8, seed=2).load_state_dict(state)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Squares(70)], ids=type)
def test_batches_that_are_held_never_change(dataset: Any, way: dict[str, Any]) -> None:
    with make_loader(dataset, 3, say=quiet, **way) as loader:
        held = list(loader)
        copies = [[leaf.clone() for leaf in leaves(batch)] for batch in held]
        held += list(loader)  # memory is asked for again
    for batch, copy in zip(held, copies, strict=False):
        assert all(map(torch.equal, leaves(batch), copy))


def leaves(batch: Any) -> list[torch.Tensor]:
    return list(batch.values()) if isinstance(batch, dict) else list(batch)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_loop_that_lets_go_of_its_batches_uses_the_same_memory_again(way: dict[str, Any]) -> None:
    rows = torch.zeros(70, 53_000)  # so wide that no two batches lie in one buffer
    with make_loader(TensorDataset(rows), 10, say=quiet, **way) as loader:
        places = set()
        for _ in range(5):
            for (x,) in loader:
                places.add(x.untyped_storage().data_ptr())
    most = {"inline": 2, "threads": 4, "processes": 2}[way["backend"]]
    assert len(places) <= most + 1


def test_generators_of_the_training_do_not_notice_loading() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3), np.random.RandomState(5).rand()
    torch.manual_seed(0)
    np.random.seed(5)
    with make_loader(Noisy(), 8, backend="inline") as loader:
        list(loader)
        list(loader)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.random.rand() == expected[1]


def test_a_sample_that_comes_twice_draws_anew() -> None:
    sampler = WeightedSampler([1.0, 1.0], 6, num_samples=6, seed=0)
    (batch,) = epoch_of(Noisy(2), sampler=sampler)
    of_one = batch["x"][batch["y"] == batch["y"][0]]
    assert len(of_one) > 1
    assert len(np.unique(of_one[:, 0])) == len(of_one)


def test_a_sampler_decides_what_comes() -> None:
    labels = np.arange(70) % 7 == 0
    sampler = ClassBalancedSampler(labels.astype(int), 10, seed=0)
    with make_loader(TensorDataset(X, torch.from_numpy(labels)), sampler=sampler) as loader:
        shares = [float(label.float().mean()) for _, label in loader]
        assert len(loader) == len(shares)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)


def test_batches_larger_than_their_slot_come_through_worker_processes() -> None:
    lengths = np.arange(400) % 5
    lengths[350:] = 200_000

    def long(samples: list[Any]) -> Any:
        return [torch.ones(int(n)) for n in samples]

    with make_loader(lengths.tolist(), 50, shuffle=False, collate=long, say=quiet,
                     **WAYS[3]) as loader:  # fmt: skip
        for _ in range(2):
            sums = [int(sum(t.sum() for t in batch)) for batch in loader]
            assert sums == [100] * 7 + [50 * 200_000]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_second_iteration_before_the_first_has_ended_is_refused(way: dict[str, Any]) -> None:
    with make_loader(X, 8, say=quiet, **way) as loader:
        first = iter(loader)
        next(first)
        second = iter(loader)
        next(second)
        with pytest.raises(ConfigError, match="iterated over anew"):
            next(first)
        assert len(list(second)) == 8


def test_an_iterator_that_is_left_costs_nothing() -> None:
    with make_loader(Squares(), 8, say=quiet, **WAYS[1]) as loader:
        next(iter(loader))
        gc.collect()
        assert len(list(loader)) == 7


def test_set_epoch_gives_that_epoch_again() -> None:
    loader = make_loader(X, 8)
    first = list(loader)
    list(loader)
    loader.set_epoch(0)
    assert same(list(loader), first)
    with pytest.raises(ConfigError, match="is no epoch"):
        loader.set_epoch(-1)


def test_drop_last_leaves_out_what_does_not_fill_a_batch() -> None:
    loader = make_loader(X, 32, drop_last=True)
    assert len(loader) == 2
    assert [len(x) for x in loader] == [32, 32]


def test_a_batch_larger_than_the_set_is_the_set() -> None:
    (batch,) = epoch_of(X, batch_size=1000)
    assert torch.equal(batch.sort(0).values, X.sort(0).values)


def test_a_sampler_of_a_subset_counts_within_it() -> None:
    part = Subset(Squares(), [7, 3, 40])
    sampler = WeightedSampler([0.0, 1.0, 0.0], 4, num_samples=4)
    (batch,) = epoch_of(part, sampler=sampler)
    assert batch["square"].tolist() == [9] * 4


def test_an_iterator_that_is_not_used_costs_no_epoch() -> None:
    one, other = make_loader(X, 8), make_loader(X, 8)
    iter(one)
    assert same(list(one), list(other))
