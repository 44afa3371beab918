"""A training that stops anywhere and goes on sees the batches of one that never stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from chirpid.data.samplers import ResumableBatches, ShuffledSampler
from chirpid.errors import ConfigError
from tests.data.samplers.kinds import KINDS, NUM_ITEMS


class Items(Dataset[int]):
    """A set whose samples are their ids."""

    def __len__(self) -> int:
        return NUM_ITEMS

    def __getitem__(self, index: int) -> int:
        assert type(index) is int
        return index


class ManyItems(Items):
    """The same by whole batches."""

    def __getitems__(self, ids: np.ndarray) -> list[int]:
        assert isinstance(ids, np.ndarray)
        return ids.tolist()


def loader_of(batches: ResumableBatches, num_workers: int = 0) -> DataLoader[int]:
    return DataLoader(Items(), batch_sampler=batches, num_workers=num_workers)


def numbers(loader: Iterator[torch.Tensor] | DataLoader[int]) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def expected(kind: str, epoch: int) -> list[list[int]]:
    return [batch.tolist() for batch in KINDS[kind](3).batches(epoch)]


@pytest.mark.parametrize("kind", KINDS)
def test_torch_loads_each_epoch_in_turn(kind: str) -> None:
    batches = ResumableBatches(KINDS[kind](3))
    loader = loader_of(batches)
    for epoch in range(3):
        assert (batches.epoch, len(loader)) == (epoch, len(expected(kind, epoch)))
        assert numbers(loader) == expected(kind, epoch)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_going_on_in_mid_epoch_equals_never_stopping(num_workers: int) -> None:
    first = ResumableBatches(KINDS["budget"](3))
    whole = [expected("budget", epoch) for epoch in range(3)]
    seen = numbers(first.follow(loader_of(first, num_workers)))
    stopped = []
    for done, batch in enumerate(first.follow(loader_of(first, num_workers)), start=1):
        stopped.append(batch.tolist())
        if done == 3:
            state = json.loads(json.dumps(first.state_dict()))
            break
    assert (state["epoch"], state["batch"]) == (1, 3)
    second = ResumableBatches(KINDS["budget"](3))
    second.load_state_dict(state)
    loader = loader_of(second, 2 - num_workers)  # as many workers as there were not before
    assert len(loader) == len(whole[1])
    rest = numbers(second.follow(loader))
    assert [seen, stopped + rest] == whole[:2]
    assert numbers(second.follow(loader)) == whole[2]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_state_of_any_moment_goes_on_with_what_is_left(kind: str, data) -> None:
    epoch = data.draw(st.integers(0, 5))
    whole = expected(kind, epoch)
    done = data.draw(st.integers(0, len(whole)))
    batches = ResumableBatches(KINDS[kind](3))
    batches.set_epoch(epoch)
    running = iter(batches)
    for _ in range(done):
        next(running)
    state = batches.state_dict()
    assert state == batches.state_at(epoch, done)
    again = ResumableBatches(KINDS[kind](3))
    again.load_state_dict(state)
    if done < len(whole):
        assert again.state_dict() == state
        assert list(again) == whole[done:]
    assert list(again) == expected(kind, epoch + 1)


@pytest.mark.parametrize("is_followed", [True, False])
def test_an_epoch_may_be_stopped_after_each_batch(is_followed: bool) -> None:
    state = ResumableBatches(KINDS["shuffled"](3)).state_at(1, 0)
    seen = []
    while state["epoch"] == 1 and len(seen) < 15:
        batches = ResumableBatches(KINDS["shuffled"](3))
        batches.load_state_dict(state)
        loader = loader_of(batches)
        seen.append(next(iter(batches.follow(loader) if is_followed else loader)).tolist())
        state = batches.state_dict()
    assert seen == expected("shuffled", 1)


def test_a_state_between_epochs_begins_the_next() -> None:
    batches = ResumableBatches(KINDS["shuffled"](3))
    list(batches.follow(loader_of(batches)))
    again = ResumableBatches(KINDS["shuffled"](3))
    again.load_state_dict(batches.state_dict())
    assert again.epoch == 1
    assert list(again) == expected("shuffled", 1)


@pytest.mark.parametrize("num_done", [4, 15])
def test_a_loop_over_epochs_goes_on_in_the_middle(num_done: int) -> None:
    batches = ResumableBatches(KINDS["shuffled"](3))
    assert len(batches) == 15
    batches.load_state_dict(batches.state_at(2, num_done))
    seen = []
    for epoch in (2, 3):
        batches.set_epoch(epoch)  # does not throw the position of the state away
        seen.append(list(batches))
    assert seen == [expected("shuffled", 2)[num_done:], expected("shuffled", 3)]
    batches.set_epoch(2)
    assert list(batches) == expected("shuffled", 2), "a state is gone on from once"


def test_a_loop_from_the_epoch_of_a_state_trains_as_many_epochs_as_are_left() -> None:
    batches = ResumableBatches(KINDS["shuffled"](3))
    batches.load_state_dict(batches.state_at(2, 15))  # all of it
    seen = [list(batches) for _ in range(batches.epoch, 5)]
    assert seen == [expected("shuffled", 3), expected("shuffled", 4)]


def test_set_epoch_begins_any_epoch_at_its_start() -> None:
    batches = ResumableBatches(KINDS["shuffled"](3))
    for epoch in (4, 4, 0):
        batches.set_epoch(epoch)
        assert list(batches) == expected("shuffled", epoch)
    next(iter(batches))
    batches.set_epoch(1)  # the one that was broken off
    assert list(batches) == expected("shuffled", 1)
    with pytest.raises(ConfigError, match=r"^epoch is -1\."):
        batches.set_epoch(-1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_pass_that_is_broken_off_is_over_whatever_was_loaded_ahead(num_workers: int) -> None:
    batches = ResumableBatches(KINDS["shuffled"](3))
    loader = loader_of(batches, num_workers)
    firsts = []
    for _ in range(3):
        for batch in loader:
            firsts.append(batch.tolist())
            break
    assert firsts == [expected("shuffled", epoch)[0] for epoch in range(3)]


def test_what_workers_load_ahead_does_not_count_as_done() -> None:
    batches = ResumableBatches(KINDS["shuffled"](3))
    for _ in batches.follow(loader_of(batches, 2)):
        followed = batches.state_dict()
        break
    assert followed["batch"] == 1
    for _ in loader_of(batches, 2):
        assert batches.state_dict()["batch"] == 5, "two for each worker, and one in its place"
        break


def test_an_iterator_that_gives_no_batch_uses_up_no_epoch() -> None:
    batches = ResumableBatches(KINDS["shuffled"](3))
    iter(batches)
    assert list(batches) == expected("shuffled", 0)


def test_arrays_reach_a_set_that_reads_whole_batches() -> None:
    batches = ResumableBatches(KINDS["shuffled"](3), arrays=True)
    assert numbers(DataLoader(ManyItems(), batch_sampler=batches)) == expected("shuffled", 0)


def test_empty_sets_have_empty_epochs() -> None:
    batches = ResumableBatches(ShuffledSampler(0, 4))
    assert (len(batches), list(batches), list(batches), batches.epoch) == (0, [], [], 2)


def test_a_state_of_other_settings_is_refused() -> None:
    state = ResumableBatches(ShuffledSampler(10, 4, seed=1)).state_at(0, 1)
    for other in (ShuffledSampler(10, 4, seed=2), ShuffledSampler(10, 5, seed=1),
                  ShuffledSampler(11, 4, seed=1), KINDS["bucket"](1)):  # fmt: skip
        batches = ResumableBatches(other)
        with pytest.raises(
            ConfigError, match=r"^The state is of Shuff.*seed=1\), not of .*anew\.$"
        ):
            batches.load_state_dict(state)
        assert batches.state_dict()["batch"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 4}, r"^Epoch 0 has no 4 batches\."),
        ({"batch": -1}, r"^batch of the state is -1\."),
        ({"epoch": "x"}, r"^epoch of the state is 'x'\."),
        ({"epoch": None}, r"^A state of batches has no 'epoch'\."),
    ],
)
def test_a_damaged_state_is_refused(change, message) -> None:
    batches = ResumableBatches(ShuffledSampler(10, 4))
    state = {**batches.state_at(0, 3), **change}
    with pytest.raises(ConfigError, match=message):
        batches.load_state_dict({key: value for key, value in state.items() if value is not None})


def test_following_another_loader_is_refused() -> None:
    batches = ResumableBatches(ShuffledSampler(10, 4))
    with pytest.raises(ConfigError, match=r"^The loader takes its batches elsewhere\."):
        next(batches.follow(DataLoader(Items(), batch_size=4)))
