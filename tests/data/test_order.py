"""An epoch's order is a permutation, a pure function, and bounded by its window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.order import batches_of, epoch_order, sorting
from chirpid.seeds import keys_of
from chirpid.types import Order

KEYS = keys_of(str(n) for n in range(300))
ids_of = st.lists(st.integers(0, 299), unique=True, max_size=300).map(
    lambda ids: np.array(ids, dtype=np.int64)
)
ORDERS = st.sampled_from([Order.shuffled, Order.windowed, Order.sequential, Order.auto])
SIZES = st.integers(1, 350)


def ordered(ids, order=Order.shuffled, seed=1, epoch=2, block=16, window=64) -> np.ndarray:
    return epoch_order(ids, KEYS, order=order, seed=seed, epoch=epoch, block_segments=block,
                       window_segments=window)  # fmt: skip


@given(ids_of, ORDERS, st.integers(0, 2**64 - 1), st.integers(0, 10**6), SIZES, SIZES)
def test_every_order_is_a_permutation_that_repeats_itself(
    ids, order, seed, epoch, block, window
) -> None:
    found = ordered(ids, order, seed, epoch, block, window)
    assert sorted(found.tolist()) == sorted(ids.tolist())
    assert found.dtype == np.int64
    again = ordered(ids[::-1], order, seed, epoch, block, window)
    assert np.array_equal(found, again), "the order in which ids are given does not matter"


@given(ids_of, st.integers(0, 1000), SIZES, st.integers(300, 10**9))
def test_a_window_that_covers_the_set_is_the_global_shuffle(ids, seed, block, window) -> None:
    windowed = ordered(ids, Order.windowed, seed, 3, block, window)
    assert np.array_equal(windowed, ordered(ids, Order.shuffled, seed, 3, block, 1))


@given(ids_of, st.integers(0, 1000), st.integers(1, 40), st.integers(1, 299))
def test_a_window_spans_few_blocks_and_windows_do_not_mix(ids, seed, block, window) -> None:
    found = ordered(ids, Order.windowed, seed, 0, block, window)
    whole = ordered(np.arange(300), Order.windowed, seed, 0, block, window)
    blocks = found // block
    kept = -(-window // block) + 1  # what a stream keeps
    seen: dict[int, tuple[int, int]] = {}
    for place, number in enumerate(blocks.tolist()):
        seen[number] = (seen.get(number, (place, 0))[0], place)
    for place in range(len(found)):
        alive = sum(first <= place <= last for first, last in seen.values())
        assert alive <= kept
    # A fold sees its part of the order of all, so that a stream serves folds from like windows.
    chosen = np.isin(whole, ids)
    assert np.array_equal(whole[chosen], found)


@given(st.integers(30, 300), st.sampled_from([Order.shuffled, Order.windowed]))
def test_epochs_and_seeds_differ(count, order) -> None:
    ids = np.arange(count)
    first = ordered(ids, order, 1, 0)
    assert not np.array_equal(first, ordered(ids, order, 1, 1))
    assert not np.array_equal(first, ordered(ids, order, 2, 0))


def test_every_segment_comes_at_every_place() -> None:
    places = np.stack([np.argsort(ordered(np.arange(10), epoch=e)) for e in range(3000)])
    for segment in range(10):
        counts = np.bincount(places[:, segment], minlength=10)
        assert ((counts - 300) ** 2 / 300).sum() < 33  # chi-square, 9 degrees, p = 1e-4


def test_equal_keys_are_still_a_permutation() -> None:
    same = np.zeros(50, dtype=np.uint64)
    found = epoch_order(np.arange(50), same, order=Order.shuffled, seed=0, epoch=0,
                        block_segments=8, window_segments=8)  # fmt: skip
    assert sorted(found.tolist()) == list(range(50))


@given(st.integers(0, 100), st.integers(1, 120), st.booleans())
def test_batches_hold_every_id_in_order(count: int, size: int, drop_last: bool) -> None:
    ids = np.arange(count)[::-1]
    batches = batches_of(ids, size, drop_last=drop_last)
    joined = np.concatenate([*batches, np.array([], dtype=np.int64)])
    kept = count - count % size if drop_last else count
    assert np.array_equal(joined, ids[:kept])
    assert all(0 < len(batch) <= size for batch in batches)
    assert all(len(batch) == size for batch in batches[:-1])


@given(st.lists(st.integers(0, 30), max_size=60))
def test_ranks_are_sorted_as_they_stand(ranks: list[int]) -> None:
    rank = np.array(ranks, dtype=np.uint64)
    assert sorting(rank).tolist() == sorted(range(len(ranks)), key=ranks.__getitem__)


def test_nothing_gives_no_batches() -> None:
    nothing = np.array([], dtype=np.int64)
    assert batches_of(ordered(nothing), 4) == []
    with pytest.raises(ValueError, match="range"):
        batches_of(np.arange(3), 0)
