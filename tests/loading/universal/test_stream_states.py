"""A stream begins where it is told to, or says why it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chirpid.errors import ConfigError
from chirpid.loading.universal.easy import make_loader
from tests.anydata import KnowsItsPlace, Stream
from tests.loading.universal.test_streams import Split, numbers_of


def state_after(num: int, loader: Any) -> dict[str, Any]:
    passing = iter(loader)
    for _ in range(num):
        next(passing)
    state: dict[str, Any] = loader.state_dict()
    return state


def test_another_epoch_than_that_of_a_state_begins_at_its_start() -> None:
    state = state_after(7, make_loader(KnowsItsPlace(), 5, window=10))
    loader = make_loader(KnowsItsPlace(), 5, window=10)
    loader.load_state_dict(state)
    loader.set_epoch(3)
    assert sorted(numbers_of(loader)) == list(range(50))


@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_a_pass_that_was_broken_off_is_not_in_the_state_of_another(epoch: int) -> None:
    left = make_loader(KnowsItsPlace(), 5, window=10)
    state_after(7, left)
    left.set_epoch(epoch)
    loader = make_loader(KnowsItsPlace(), 5, window=10)
    loader.load_state_dict(left.state_dict())
    assert loader.epoch == epoch
    assert sorted(numbers_of(loader)) == list(range(50))


def test_the_epoch_of_a_state_goes_on_where_it_was() -> None:
    whole = numbers_of(make_loader(KnowsItsPlace(), 5, window=10))
    loader = make_loader(KnowsItsPlace(), 5, window=10)
    loader.load_state_dict(state_after(7, make_loader(KnowsItsPlace(), 5, window=10)))
    loader.set_epoch(0)
    assert numbers_of(loader) == whole[35:]


def test_a_state_of_another_number_of_readers_is_refused() -> None:
    state = state_after(3, make_loader(Split(), 8, num_workers=2))
    with pytest.raises(ConfigError, match="Use num_workers=2"):
        make_loader(Split(), 8).load_state_dict(state)
    make_loader(Split(), 8, num_workers=2).load_state_dict(state)


def test_a_worker_reads_on_where_the_calling_thread_was() -> None:
    state = state_after(3, make_loader(Stream(), 8))
    loader = make_loader(Stream(), 8, num_workers=1)
    loader.load_state_dict(state)
    assert numbers_of(loader) == numbers_of(make_loader(Stream(), 8))[24:]


def test_a_generator_that_is_used_up_does_not_pass_for_an_empty_epoch() -> None:
    said: list[str] = []
    loader = make_loader((torch.tensor(n) for n in range(20)), 8, shuffle=False, say=said.append)
    assert (len(list(loader)), said) == (3, [])
    assert list(loader) == []
    assert "a generator can be gone through once only" in said[0]


def test_a_stream_without_samples_has_empty_epochs() -> None:
    said: list[str] = []
    loader = make_loader(Stream(0), 8, say=said.append)
    assert [list(loader), list(loader), said] == [[], [], []]


def test_numbers_of_numpy_are_numbers() -> None:
    one = make_loader(Stream(), np.int64(8), window=np.int32(16))  # type: ignore[arg-type]
    other = make_loader(Stream(), 8, window=16)
    other.load_state_dict(state_after(2, one))
    one.set_epoch(np.int64(3))  # type: ignore[arg-type]
    other.set_epoch(3)
    assert one.epoch == 3
    assert numbers_of(one) == numbers_of(other)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_any_seed_of_a_table_is_one_of_a_stream(num_workers: int) -> None:
    loader = make_loader(Stream(9), 8, seed=2**70, num_workers=num_workers)
    assert sorted(numbers_of(loader)) == list(range(9))
