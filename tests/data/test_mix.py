"""A mixture keeps its proportions at every moment, loses nothing, and repeats itself exactly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.mix import Mix, draw_keys, mixed_epoch, one_pass_segments, turns
from chirpid.data.order import OrderRule
from chirpid.errors import ConfigError, DataError
from chirpid.seeds import keys_of
from chirpid.types import Order

KEYS = keys_of(str(n) for n in range(200))
STARTS = (0, 100, 130)
"""Sets of 100, 30 and 70 segments."""
SIZES = (100, 30, 70)
WEIGHTS = st.tuples(*[st.floats(0.02, 1.0)] * 3)
RULES = st.builds(
    OrderRule,
    order=st.sampled_from([Order.shuffled, Order.windowed]),
    seed=st.integers(0, 2**64 - 1),
    block_segments=st.integers(1, 30),
    window_segments=st.integers(1, 120),
)


def mix_of(weights, draws=None) -> Mix:
    return Mix(("a", "b", "c"), STARTS, tuple(weights), draws)


def sets_of(ids) -> np.ndarray:
    return np.searchsorted(STARTS, ids, side="right") - 1


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6), st.integers(1, 300),
       st.integers(0, 10**6), st.integers(0, 2**64 - 1))  # fmt: skip
def test_every_prefix_has_the_wanted_proportions(weights, draws, epoch, seed) -> None:
    share = np.array(weights) / sum(weights)
    sets, _ = turns(share, draws, seed=seed, epoch=epoch)
    assert len(sets) == draws
    count_LS = np.cumsum(np.eye(len(share))[sets], axis=0)
    off = np.abs(count_LS - np.arange(1, draws + 1)[:, None] * share)
    # An epoch begins somewhere in the endless sequence: twice the bound of a prefix of that.
    bound = 2 * ((1 - share) + share * (len(share) - 1))
    assert (off < bound + 1e-6).all()


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4), st.integers(1, 80),
       st.integers(0, 5), st.integers(0, 99))  # fmt: skip
def test_epochs_are_stretches_of_one_sequence(weights, draws, epochs, seed) -> None:
    share = np.array(weights) / sum(weights)
    whole = turns(share, draws * (epochs + 1), seed=seed, epoch=0)
    parts = [turns(share, draws, seed=seed, epoch=e) for e in range(epochs + 1)]
    for index in (0, 1):
        assert np.array_equal(whole[index], np.concatenate([part[index] for part in parts]))


@given(WEIGHTS, RULES, st.integers(1, 400), st.integers(0, 10**5))
def test_a_mixed_epoch_is_a_pure_function(weights, rule, draws, epoch) -> None:
    mix = mix_of(weights, draws)
    ids = np.arange(200)
    found = mixed_epoch(ids, KEYS, mix, rule, epoch=epoch)
    again = mixed_epoch(ids[::-1], KEYS, mix, rule, epoch=epoch)
    assert len(found.ids) == draws
    assert np.array_equal(found.ids, again.ids)
    assert np.array_equal(found.repeats, again.repeats)


@given(WEIGHTS, RULES, st.integers(30, 400))
def test_nothing_is_lost_and_repeats_are_even(weights, rule, draws) -> None:
    mix = mix_of(weights, draws)
    ids = np.arange(0, 200, 2)
    counts = np.zeros(200, dtype=np.int64)
    for epoch in range(6):
        counts += np.bincount(mixed_epoch(ids, KEYS, mix, rule, epoch=epoch).ids, minlength=200)
        for number in range(3):
            of_set = counts[ids[sets_of(ids) == number]]
            assert of_set.max() - of_set.min() <= 1
    assert counts[1::2].sum() == 0, "what is not in the training part never comes"
    share = np.array(weights) / sum(weights)
    found = np.bincount(sets_of(np.arange(200)), weights=counts, minlength=3)
    assert np.abs(found - 6 * draws * share).max() < 4


@given(WEIGHTS, RULES, st.integers(0, 50))
def test_a_segment_never_comes_twice_with_the_same_repeat(weights, rule, epoch) -> None:
    found = mixed_epoch(np.arange(200), KEYS, mix_of(weights, 500), rule, epoch=epoch)
    pairs = Counter(zip(found.ids.tolist(), found.repeats.tolist(), strict=True))
    assert max(pairs.values()) == 1
    keys = draw_keys(KEYS[found.ids], found.repeats)
    assert len(set(keys.tolist())) == 500, "each draw has an augmentation of its own"


@given(st.integers(0, 2**64 - 1), st.integers(0, 50))
def test_passes_have_orders_of_their_own(seed, epoch) -> None:
    rule = OrderRule(seed=seed)
    found = mixed_epoch(np.arange(200), KEYS, mix_of((1, 1, 1), 900), rule, epoch=epoch).ids
    of_b = found[sets_of(found) == 1]
    whole = len(of_b) // 30 * 30 - 30
    begin = next(s for s in range(30) if len(set(of_b[s : s + 30].tolist())) == 30)
    passes = of_b[begin : begin + whole].reshape(-1, 30)
    assert all(sorted(row.tolist()) == list(range(100, 130)) for row in passes)
    assert len({tuple(row.tolist()) for row in passes}) == len(passes)


def test_sets_share_the_window_by_weight() -> None:
    mix = mix_of((6, 3, 1))
    assert mix.windows(OrderRule(Order.windowed, 0, 8, 100)) == [60, 30, 10]
    assert mix.windows(OrderRule(Order.windowed, 0, 20, 100)) == [60, 30, 20], "a block at least"
    rule = OrderRule(Order.windowed, 0, 4, 20)
    found = mixed_epoch(np.arange(200), KEYS, mix, rule, epoch=0)
    of_a = found.ids[sets_of(found.ids) == 0]
    alone = OrderRule(Order.windowed, 0, 4, 12).epoch(np.arange(100), KEYS[:100], 0)
    assert np.array_equal(of_a[:100], alone[: len(of_a)])


def test_first_repeats_keep_the_key_of_the_segment() -> None:
    keys = draw_keys(KEYS[:4], np.array([0, 1, 2, 0]))
    assert keys[0] == KEYS[0]
    assert keys[3] == KEYS[3]
    assert len(set(keys.tolist()) | set(KEYS[:4].tolist())) == 6


def test_one_set_alone_is_its_own_epochs() -> None:
    rule, mix = OrderRule(seed=3), Mix(("all",), (0,), (2.0,))
    for epoch in range(3):
        found = mixed_epoch(np.arange(200), KEYS, mix, rule, epoch=epoch)
        assert np.array_equal(found.ids, rule.epoch(np.arange(200), KEYS, epoch))
        assert not found.repeats.any()


@given(WEIGHTS)
def test_an_epoch_for_one_pass_holds_every_segment(weights) -> None:
    mix = mix_of(weights, one_pass_segments(SIZES, weights) + 4)  # + the bound of the turns
    found = mixed_epoch(np.arange(200), KEYS, mix, OrderRule(), epoch=0)
    assert set(found.ids.tolist()) == set(range(200))


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_are_above_zero(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight of 'b'"):
        mix_of((1.0, weight, 1.0))


def test_a_set_without_training_segments_is_named() -> None:
    with pytest.raises(DataError, match="'b' has no segment"):
        mixed_epoch(np.arange(100), KEYS, mix_of((1, 1, 1)), OrderRule(), epoch=0)


def test_an_epoch_has_a_segment() -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        mix_of((1, 1, 1), 0)
