"""Streams come whole, once, in an order that is a function of seed and epoch, and go on exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, get_worker_info

from chirpid.errors import ConfigError
from chirpid.loading.universal.easy import make_loader
from tests.anydata import KnowsItsPlace, Stream
from tests.examples import examples
from tests.loading.universal.test_loader import same


def numbers_of(batches: Any) -> list[int]:
    return [number for batch in batches for number in batch[1].tolist()]


@pytest.mark.parametrize("num", [1, 8, 9, 50])
def test_unshuffled_batches_are_those_of_torchs_loader(num: int) -> None:
    assert same(list(make_loader(Stream(num), 8, shuffle=False)), list(DataLoader(Stream(num), 8)))


@given(num=st.integers(1, 60), size=st.integers(1, 20), window=st.integers(1, 40))
def test_a_pass_gives_every_sample_once_and_never_far_from_its_place(
    num: int, size: int, window: int
) -> None:
    loader = make_loader(Stream(num), size, window=window)
    found = numbers_of(loader)
    assert sorted(found) == list(range(num))
    reach = -(-window // size) * size
    assert all(abs(place - number) < reach for place, number in enumerate(found))


def test_each_epoch_has_an_order_of_its_own_and_the_same_seed_the_same() -> None:
    one, other = (make_loader(Stream(), 8, seed=4) for _ in range(2))
    first, second = numbers_of(one), numbers_of(one)
    assert first != second
    assert [numbers_of(other), numbers_of(other)] == [first, second]
    assert numbers_of(make_loader(Stream(), 8, seed=5)) != first


@pytest.mark.parametrize("kind", [Stream, KnowsItsPlace])
@settings(max_examples=examples(25))
@given(num=st.integers(1, 40), size=st.integers(1, 9), window=st.integers(1, 20), at=st.integers(0))
def test_resuming_at_any_batch_equals_never_stopping(
    kind: type[Stream], num: int, size: int, window: int, at: int
) -> None:
    whole = make_loader(kind(num), size, window=window)
    first, second = list(whole), list(whole)
    at %= len(first) + 1
    part = make_loader(kind(num), size, window=window)
    passing = iter(part)
    for _ in range(at):
        next(passing)
    again = make_loader(kind(num), size, window=window)
    again.load_state_dict(part.state_dict())
    assert again.state_dict() == part.state_dict()
    assert same([*first[:at], *again], first)
    assert same(list(again), second)


def test_a_stream_that_knows_its_place_is_not_read_from_its_start() -> None:
    part = make_loader(KnowsItsPlace(), 5, window=10)
    passing = iter(part)
    for _ in range(7):
        next(passing)
    stream = KnowsItsPlace()
    again = make_loader(stream, 5, window=10)
    again.load_state_dict(part.state_dict())
    assert len(list(again)) == 3
    assert stream.num_read == 20, "the window of the stop, and what comes after"


def test_one_worker_gives_what_the_calling_thread_gives() -> None:
    one = make_loader(Stream(), 8, num_workers=1)
    here = make_loader(Stream(), 8)
    assert same([*one, *one], [*here, *here])


class Split(Stream):
    splits_itself = True

    def __iter__(self):  # type: ignore[no-untyped-def]
        info = get_worker_info()
        for place, sample in enumerate(super().__iter__()):
            if info is None or place % info.num_workers == info.id:
                yield sample


def test_two_workers_share_a_stream_that_splits_itself() -> None:
    loader = make_loader(Split(), 8, num_workers=2)
    first = numbers_of(loader)
    assert sorted(first) == list(range(50))
    assert numbers_of(make_loader(Split(), 8, num_workers=2)) == first


def test_two_workers_that_would_each_give_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="each worker would give all samples of a Stream"):
        make_loader(Stream(), num_workers=2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"on_bad": "skip"}, "has ended"),
        ({"backend": "threads"}, "backend='threads' has no meaning"),
        ({"collate": "auto"}, "has to see a sample"),
        ({"window": 0}, "window=0 is out of range"),
        ({"batch_size": 0}, "batch_size=0 is out of range"),
    ],
)
def test_what_has_no_meaning_for_a_stream_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_loader(Stream(), **settings)


def test_the_length_is_told_if_the_stream_knows_it() -> None:
    with pytest.raises(TypeError):
        len(make_loader(Stream()))

    class Sized(Stream):
        def __len__(self) -> int:
            return 50

    loader = make_loader(Sized(), 8)
    assert len(loader) == len(list(loader)) == 7
    assert len(make_loader(Sized(), 8, drop_last=True)) == 6


def test_a_plain_generator_is_one_pass() -> None:
    loader = make_loader((torch.tensor(float(k)) for k in range(5)), 2, shuffle=False)
    assert [batch.tolist() for batch in loader] == [[0.0, 1.0], [2.0, 3.0], [4.0]]
    assert list(loader) == []


def test_a_stream_that_fails_raises_its_own_error() -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield 1
        raise OSError("line 2 is damaged")

    with pytest.raises(OSError, match="line 2 is damaged"):
        list(make_loader(broken(), 1))


def test_a_state_of_other_settings_is_refused() -> None:
    state = make_loader(Stream(), 8, seed=1).state_dict()
    with pytest.raises(ConfigError, match="The state is of"):
        make_loader(Stream(), 8, seed=2).load_state_dict(state)
