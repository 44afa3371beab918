"""Frequencies follow the weights; what has weight 0 never comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from chirpid.data.samplers import WeightedSampler
from chirpid.errors import ConfigError

WEIGHTS = np.array([0.0, 1.0, 2.0, 0.5, 0.0, 4.0, 2.5, 0.0])
SHARES = WEIGHTS / WEIGHTS.sum()
NOT_DRAWN = WEIGHTS == 0
ALPHA = 1e-3
"""Seeds are fixed, so a test passes always or never: chance decided once, at most."""

weights_of = st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 0.3, 1.0, 7.0, 1e308]), min_size=1,
                      max_size=30)  # fmt: skip


def drawn(sampler: WeightedSampler, epoch: int) -> np.ndarray:
    return np.concatenate(sampler.batches(epoch))


def assert_follows(counts: np.ndarray, expected_share: np.ndarray) -> None:
    some = expected_share > 0
    assert not counts[~some].any()
    assert chisquare(counts[some], expected_share[some] * counts.sum()).pvalue > ALPHA


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_draws_with_replacement_follow_the_weights(seed: int) -> None:
    sampler = WeightedSampler(WEIGHTS, 64, num_samples=20_000, seed=seed)
    assert_follows(np.bincount(drawn(sampler, 3), minlength=8), SHARES)


def test_draws_with_replacement_do_not_depend_on_each_other() -> None:
    ids = drawn(WeightedSampler(WEIGHTS, 64, num_samples=40_001), 0)
    pairs = np.bincount(ids[:-1] * 8 + ids[1:], minlength=64)
    assert_follows(pairs, np.outer(SHARES, SHARES).ravel())
    epochs = np.array(
        [drawn(WeightedSampler(WEIGHTS, 1, num_samples=1), e)[0] for e in range(2000)]
    )
    assert_follows(np.bincount(epochs, minlength=8), SHARES)


def test_draws_without_replacement_follow_the_weights_of_what_is_left() -> None:
    sampler = WeightedSampler(WEIGHTS, 5, replacement=False)
    orders = np.array([drawn(sampler, epoch) for epoch in range(4000)])
    assert_follows(np.bincount(orders[:, 0], minlength=8), SHARES)
    first, second = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    share = SHARES[first] * SHARES[second] / (1 - SHARES[first])
    share[np.arange(8), np.arange(8)] = 0
    pairs = np.bincount(orders[:, 0] * 8 + orders[:, 1], minlength=64)
    assert_follows(pairs, share.ravel())


def test_frequencies_that_are_not_those_of_the_weights_are_told() -> None:
    counts = np.bincount(drawn(WeightedSampler(WEIGHTS, 64, num_samples=20_000), 0), minlength=8)
    other = WEIGHTS + 0.3 * (np.arange(8) == 6)
    with pytest.raises(AssertionError):
        assert_follows(counts, other / other.sum())


@given(weights_of, st.integers(1, 60), st.integers(0, 2**64 - 1), st.booleans())
def test_weight_0_never_comes_and_nothing_comes_twice_without_replacement(
    weights, count, seed, replacement
) -> None:
    possible = np.flatnonzero(np.array(weights) / max(*weights, 1e-300))
    assume(len(possible))
    num = count if replacement else min(count, len(possible))
    sampler = WeightedSampler(weights, 8, num_samples=num, replacement=replacement, seed=seed)
    ids = drawn(sampler, 1)
    assert len(ids) == num
    assert set(ids.tolist()) <= set(np.flatnonzero(weights).tolist())
    if not replacement:
        assert len(set(ids.tolist())) == num


@given(st.integers(0, 7), st.integers(0, 99))
def test_an_item_that_is_taken_out_leaves_the_order_of_the_others(item, epoch) -> None:
    weights = 1.0 + np.arange(8)
    whole = drawn(WeightedSampler(weights, 8, replacement=False), epoch)
    weights[item] = 0
    rest = drawn(WeightedSampler(weights, 8, replacement=False), epoch)
    assert np.array_equal(rest, whole[whole != item])


def test_more_draws_go_on_where_fewer_end() -> None:
    few, many = (drawn(WeightedSampler(WEIGHTS, 4, num_samples=n), 2) for n in (10, 30))
    assert np.array_equal(few, many[:10])


def test_an_epoch_is_as_long_as_the_set_unless_told() -> None:
    assert len(drawn(WeightedSampler(WEIGHTS, 3), 0)) == 8
    all_drawn = drawn(WeightedSampler(WEIGHTS, 3, replacement=False), 0)
    assert sorted(all_drawn.tolist()) == np.flatnonzero(WEIGHTS).tolist()
    assert drawn(WeightedSampler([3], 4, num_samples=5), 0).tolist() == [0] * 5
    sizes = [len(b) for b in WeightedSampler(WEIGHTS, 3, drop_last=True).batches(0)]
    assert sizes == [3, 3]


@pytest.mark.parametrize(
    ("weights", "settings", "message"),
    [
        ([0, 0], {}, r"^None of 2 weights is above 0\. Give one that is\.$"),
        ([], {}, r"^None of 0 weights is above 0\."),
        ([1, -0.5], {}, r"^The weight of item 1 is -0\.5\. Use 0 or more\.$"),
        ([1, float("nan")], {}, r"^The weight of item 1 is nan\."),
        ([float("inf"), 1], {}, r"^The weight of item 0 is inf\."),
        ([[1.0]], {}, r"^weights are float64\[1, 1\]\."),
        (["a"], {}, r"^weights are <U1\[1\]\."),
        ([1, 1, 0], {"replacement": False, "num_samples": 3},
         r"^num_samples is 3, but 2 items have a weight above 0\..*replacement=True\.$"),
        ([1], {"num_samples": 0}, r"^num_samples is 0\."),
        ([1, 1], {"drop_last": True, "batch_size": 3}, r"^drop_last drops all: 2 ids"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(weights, settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        WeightedSampler(weights, **{"batch_size": 2, **settings})
