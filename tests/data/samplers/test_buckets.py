"""Buckets lose no item, pad no more than a shuffle, and no cutting of a window pads less."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.samplers import BucketSampler, ShuffledSampler, padding_share
from chirpid.errors import ConfigError, DataError

lengths_of = st.lists(st.integers(0, 40), max_size=60).map(lambda x: np.array(x, dtype=np.int64))
SIZES, WINDOWS, SEEDS = st.integers(1, 20), st.integers(1, 12), st.integers(0, 2**64 - 1)


def padded(batches: list[np.ndarray], lengths: np.ndarray) -> int:
    return sum(len(batch) * int(lengths[batch].max()) for batch in batches)


@given(lengths_of, SIZES, WINDOWS, SEEDS, st.booleans())
def test_every_item_comes_once_in_full_batches_but_one(lengths, size, window, seed, drop) -> None:
    if drop and 0 < len(lengths) < size:
        return
    sampler = BucketSampler(lengths, size, window_batches=window, seed=seed, drop_last=drop)
    batches = sampler.batches(1)
    plain = ShuffledSampler(len(lengths), size, seed=seed, drop_last=drop).batches(1)
    assert sorted(itertools.chain(*batches)) == sorted(itertools.chain(*plain))
    assert sorted(map(len, batches)) == sorted(map(len, plain))
    assert sampler.num_batches(1) == len(batches)


@given(lengths_of, SIZES, WINDOWS, SEEDS, st.booleans())
def test_padding_is_never_more_than_without_buckets(lengths, size, window, seed, drop) -> None:
    if drop and 0 < len(lengths) < size:
        return
    bucketed = BucketSampler(lengths, size, window_batches=window, seed=seed, drop_last=drop)
    plain = ShuffledSampler(len(lengths), size, seed=seed, drop_last=drop)
    assert padded(bucketed.batches(0), lengths) <= padded(plain.batches(0), lengths)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 4))
def test_no_cutting_of_a_window_pads_less(lengths, size) -> None:
    table = np.array(lengths)
    found = padded(BucketSampler(table, size).batches(0), table)
    best = min(
        padded([np.array(order[i : i + size]) for i in range(0, len(order), size)], table)
        for order in itertools.permutations(range(len(table)))
    )
    assert found == best


@given(lengths_of, SIZES, WINDOWS, SEEDS)
def test_batches_stay_within_windows_of_the_shuffled_order(lengths, size, window, seed) -> None:
    sampler = BucketSampler(lengths, size, window_batches=window, seed=seed)
    (order,) = ShuffledSampler(len(lengths), len(lengths) + 1, seed=seed).batches(2) or [lengths]
    window_of = np.empty(len(lengths), dtype=int)
    window_of[order] = np.arange(len(order)) // (window * size)
    place_of = np.argsort(order)
    for batch in sampler.batches(2):
        assert len(set(window_of[batch].tolist())) == 1
        pairs = itertools.pairwise(batch.tolist())
        # The longest first, equal ones as they were shuffled.
        assert all((-lengths[a], place_of[a]) < (-lengths[b], place_of[b]) for a, b in pairs)


def test_batches_come_in_random_order_over_the_epoch() -> None:
    lengths = np.arange(1, 101)
    sampler = BucketSampler(lengths, 5, window_batches=4)
    first = np.array([batch[0] for epoch in range(30) for batch in sampler.batches(epoch)])
    windows = first.reshape(30, -1)
    assert len({tuple(row) for row in windows}) == 30
    # The longest item lies in the first batch of one of five windows.
    assert len(set((windows == 99).argmax(axis=1).tolist())) > 5
    assert abs(np.corrcoef(np.tile(np.arange(20), 30), first)[0, 1]) < 0.1


def test_one_batch_a_window_is_the_shuffle() -> None:
    lengths = np.arange(50) % 7
    bucketed = BucketSampler(lengths, 8, window_batches=1).batches(3)
    plain = ShuffledSampler(50, 8).batches(3)
    assert {frozenset(b.tolist()) for b in bucketed} == {frozenset(b.tolist()) for b in plain}


def test_some_ids_of_a_set_are_bucketed_as_a_set_of_their_own() -> None:
    lengths = np.arange(100) % 23
    ids = np.arange(3, 100, 4)
    batches = BucketSampler(lengths, 4, ids=ids).batches(0)
    assert sorted(itertools.chain(*batches)) == ids.tolist()
    assert padding_share(batches, lengths) < padding_share(
        ShuffledSampler(ids, 4).batches(0), lengths
    )


def test_the_share_of_padding_is_what_is_not_filled() -> None:
    lengths = np.array([1, 4, 2, 2])
    assert padding_share([np.array([0, 1]), np.array([2, 3])], lengths) == 1 - 9 / 12
    assert padding_share([np.array([2, 3])], lengths) == 0
    assert padding_share([], lengths) == 0
    assert padding_share([np.array([0])], [0]) == 0


def test_small_sets_work_or_say_what_to_do() -> None:
    assert list(BucketSampler([], 4).batches(0)) == []
    assert [b.tolist() for b in BucketSampler([5], 4).batches(0)] == [[0]]
    assert [sorted(b.tolist()) for b in BucketSampler([5, 1, 3], 8).batches(0)] == [[0, 1, 2]]
    with pytest.raises(ConfigError, match=r"^drop_last drops all"):
        BucketSampler([5, 1], 4, drop_last=True)


@pytest.mark.parametrize(
    ("lengths", "settings", "message"),
    [
        ([1.5], {}, r"^lengths are float64\[1\]\. Give one whole number for each item\.$"),
        ([3, -1], {}, r"^lengths\[1\] is -1\. Use whole numbers from 0 on\.$"),
        ([3, 1], {"ids": [0, 2]}, r"^Id 2 has no length: there are 2\. Give all\.$"),
        ([3, 1], {"ids": [0, 0]}, r"^Id 0 comes twice\."),
        ([3, 1], {"window_batches": 0}, r"^window_batches is 0\."),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(lengths, settings, message) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        BucketSampler(lengths, 2, **settings)
