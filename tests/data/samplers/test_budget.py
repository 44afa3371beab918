"""No batch is beyond the budget, and no item is lost without a word."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.samplers import BudgetSampler, ShuffledSampler, padding_share
from chirpid.errors import ConfigError, DataError

lengths_of = st.lists(st.integers(0, 30), max_size=60).map(lambda x: np.array(x, dtype=np.int64))
BUDGETS, WINDOWS, SEEDS = st.integers(30, 200), st.integers(1, 70), st.integers(0, 2**64 - 1)


def cost(batch: np.ndarray, lengths: np.ndarray) -> int:
    return len(batch) * int(lengths[batch].max())


@given(lengths_of, BUDGETS, WINDOWS, SEEDS, st.integers(1, 5), st.integers(1, 12))
def test_no_batch_is_beyond_the_budget_and_every_item_comes_once(
    lengths, budget, window, seed, multiple, most
) -> None:
    sampler = BudgetSampler(lengths, budget, window_items=window, seed=seed, multiple_of=multiple,
                            max_batch=most)  # fmt: skip
    batches = sampler.batches(4)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    for batch in batches:
        assert cost(batch, lengths) <= budget
        assert len(batch) <= most
        assert len(batch) % multiple == 0 or len(batch) < multiple
    assert sampler.num_skipped == 0
    assert sampler.num_batches(4) == len(batches)


@given(lengths_of, BUDGETS, WINDOWS, SEEDS)
def test_batches_stay_within_windows_and_are_as_large_as_they_can_be(
    lengths, budget, window, seed
) -> None:
    order = np.concatenate([*ShuffledSampler(len(lengths), 64, seed=seed).batches(0), []])
    window_of = np.empty(len(lengths), dtype=int)
    window_of[order.astype(int)] = np.arange(len(order)) // window
    by_window: dict[int, list[np.ndarray]] = {}
    for batch in BudgetSampler(lengths, budget, window_items=window, seed=seed).batches(0):
        assert len(set(window_of[batch].tolist())) == 1
        by_window.setdefault(int(window_of[batch[0]]), []).append(batch)
    for batches in by_window.values():
        batches.sort(key=lambda batch: (-lengths[batch[0]], -lengths[batch[-1]], len(batch) == 1))
        for batch in batches[:-1]:  # the last of a window takes what is left
            assert (len(batch) + 1) * lengths[batch].max() > budget or lengths[batch].max() == 0


@given(lengths_of, st.integers(1, 40), st.integers(2, 5), SEEDS)
def test_items_that_are_too_long_are_skipped_and_counted(lengths, budget, least, seed) -> None:
    long = lengths > budget // least
    settings = {"min_batch": least, "too_long": "skip", "seed": seed}
    if len(lengths) == long.sum() > 0:
        with pytest.raises(ConfigError, match=r"^All \d+ items are longer than max_elements="):
            BudgetSampler(lengths, budget, **settings)
        return
    sampler = BudgetSampler(lengths, budget, **settings)
    assert sampler.num_skipped == long.sum()
    if (~long).sum() >= least:
        batches = sampler.batches(0)
        ids = list(itertools.chain(*batches))
        assert len(set(ids)) == len(ids)
        assert not set(ids) & set(np.flatnonzero(long).tolist())
        assert (~long).sum() - len(ids) < least, "only the end of the one window is left out"
        assert all(len(b) >= least and cost(b, lengths) <= budget for b in batches)


@given(lengths_of, st.integers(1, 30), SEEDS)
def test_items_that_are_too_long_may_come_alone(lengths, budget, seed) -> None:
    batches = BudgetSampler(lengths, budget, too_long="alone", seed=seed).batches(0)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert all(len(batch) == 1 for batch in batches if cost(batch, lengths) > budget)


def test_items_that_are_too_long_are_refused_by_name() -> None:
    lengths = np.arange(10) * 10 + 20
    with pytest.raises(DataError, match=r"^Item 7 has 90 elements, beyond max_elements=50; 2 in"):
        BudgetSampler(lengths, 50, ids=[0, 4, 7])
    assert BudgetSampler(lengths, 50, ids=[0, 3]).num_batches(0) == 2
    with pytest.raises(DataError, match=r"beyond max_elements=50 with min_batch=2; 1 in all"):
        BudgetSampler([20, 30], 50, min_batch=2)


def test_a_budget_pads_less_than_batches_of_one_size() -> None:
    lengths = 1 + np.arange(1000) * 7919 % 97
    plain = padding_share(ShuffledSampler(1000, 16).batches(0), lengths)
    assert padding_share(BudgetSampler(lengths, 16 * 97).batches(0), lengths) < 0.2 * plain


def test_batches_with_too_few_items_are_left_out_others_in_each_epoch() -> None:
    sampler = BudgetSampler(np.full(10, 5), 20, min_batch=4)
    left = [set(range(10)) - set(itertools.chain(*sampler.batches(e))) for e in range(2)]
    assert [len(items) for items in left] == [2, 2]
    assert left[0] != left[1]


def test_small_sets_work_or_say_what_to_do() -> None:
    assert list(BudgetSampler([], 8).batches(0)) == []
    assert [b.tolist() for b in BudgetSampler([8], 8).batches(0)] == [[0]]
    assert [len(b) for b in BudgetSampler([0, 0, 0], 1).batches(0)] == [3]
    with pytest.raises(ConfigError, match=r"^No batch of 3 items has min_batch=4\."):
        BudgetSampler([1, 1, 1], 8, min_batch=4).batches(0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_elements": 0}, r"^max_elements is 0\."),
        ({"too_long": "skp"}, r"^too_long is 'skp'\. Did you mean 'skip'\? Choices: refuse, alone"),
        ({"min_batch": 4, "max_batch": 3}, r"^max_batch=3 is below min_batch=4\."),
        ({"min_batch": 3, "multiple_of": 2}, r"^min_batch=3 is no multiple of multiple_of=2\."),
        ({"min_batch": 2, "too_long": "alone"}, r"^too_long=alone makes batches of one item"),
        ({"window_items": 0}, r"^window_items is 0\."),
    ],
)
def test_settings_at_odds_are_refused_in_one_line(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        BudgetSampler([1, 2], **{"max_elements": 8, **settings})
