"""Classes come in their shares at every moment, and their items in rounds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.mix import Mix, mixed_epoch
from chirpid.data.order import OrderRule
from chirpid.data.samplers import ClassBalancedSampler, MPerClassSampler
from chirpid.errors import ConfigError, DataError

labels_of = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(np.array)
SEEDS = st.integers(0, 2**64 - 1)


def drawn(sampler: ClassBalancedSampler, epochs: range) -> np.ndarray:
    return np.concatenate([np.concatenate(sampler.batches(epoch)) for epoch in epochs])


@given(labels_of, st.integers(1, 90), SEEDS, st.integers(0, 1000))
def test_classes_come_equally_often_at_every_moment(labels, count, seed, epoch) -> None:
    ids = drawn(
        ClassBalancedSampler(labels, 8, num_samples=count, seed=seed), range(epoch, epoch + 1)
    )
    classes = np.unique(labels)
    for upto in range(1, count + 1):
        counts = (labels[ids[:upto], None] == classes).sum(axis=0)
        assert counts.sum() == upto
        # Each set of the mixture is off by less than two draws at each end of a stretch.
        assert np.abs(counts - upto / len(classes)).max() < 4


@given(labels_of, st.integers(1, 40), SEEDS, st.integers(1, 6))
def test_a_class_is_gone_through_before_an_item_comes_again_over_epochs_too(
    labels, count, seed, epochs
) -> None:
    ids = drawn(ClassBalancedSampler(labels, 8, num_samples=count, seed=seed), range(epochs))
    for label in np.unique(labels):
        members = set(np.flatnonzero(labels == label).tolist())
        mine = ids[labels[ids] == label].tolist()
        for begin in range(0, len(mine), len(members)):
            one_round = mine[begin : begin + len(members)]
            assert len(set(one_round)) == len(one_round)
            assert len(one_round) < len(members) or set(one_round) == members


@given(st.integers(0, 99), SEEDS)
def test_whose_turn_it_is_comes_from_the_mixture_of_sets(epoch, seed) -> None:
    labels = np.repeat([0, 1, 2], [50, 5, 20])
    mix = Mix(("a", "b", "c"), (0, 50, 55), (1.0, 1.0, 1.0), 70)
    keys = np.arange(75, dtype=np.uint64)
    mixed = mixed_epoch(np.arange(75), keys, mix, OrderRule(seed=seed), epoch=epoch)
    sampler = ClassBalancedSampler(labels, 8, num_samples=70, seed=seed)
    assert np.array_equal(labels[drawn(sampler, range(epoch, epoch + 1))], labels[mixed.ids])


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.5, 1.0])
def test_a_class_of_n_items_is_drawn_in_proportion_to_a_power_of_n(alpha: float) -> None:
    labels = np.repeat([0, 1, 2], [1000, 100, 10])
    sampler = ClassBalancedSampler(labels, 64, alpha=alpha, num_samples=5000)
    share = np.array([1000, 100, 10]) ** alpha
    share /= share.sum()
    counts = np.bincount(labels[drawn(sampler, range(4, 5))], minlength=3)
    assert np.abs(counts - 5000 * share).max() < 4


def test_every_item_of_a_class_comes_at_every_place_of_a_round() -> None:
    sampler = ClassBalancedSampler(np.zeros(6, dtype=int), 6, num_samples=18_000)
    ids = drawn(sampler, range(2, 3)).reshape(-1, 6)
    for item in range(6):
        counts = (ids == item).sum(axis=0)
        assert ((counts - 500) ** 2 / 500).sum() < 26  # chi-square, 5 degrees, p = 1e-4


@pytest.mark.parametrize("alpha", [-1e4, 1e4])
def test_an_extreme_power_leaves_one_class(alpha: float) -> None:
    labels = np.repeat([0, 1], [1, 1000])
    ids = drawn(ClassBalancedSampler(labels, 8, alpha=alpha, num_samples=50), range(3))
    assert set(labels[ids].tolist()) == {int(alpha > 0)}


def test_labels_may_be_texts_and_stand_in_any_order() -> None:
    names = np.array(["wren", "owl", "wren", "wren", "owl"])
    by_name = ClassBalancedSampler(names, 2, seed=1)
    by_number = ClassBalancedSampler([1, 0, 1, 1, 0], 2, seed=1)
    assert np.array_equal(drawn(by_name, range(3)), drawn(by_number, range(3)))


def test_items_without_a_class_are_left_out_if_asked() -> None:
    labels = [0, -1, 1, -1, 1]
    with pytest.raises(
        DataError, match=r"^The label of item 1 is -1, and 2 .*ignore_negative=True"
    ):
        ClassBalancedSampler(labels, 2)
    sampler = ClassBalancedSampler(labels, 2, ignore_negative=True)
    assert set(drawn(sampler, range(9)).tolist()) == {0, 2, 4}
    assert sampler.num_ids == 3


@pytest.mark.parametrize("make", [lambda y: ClassBalancedSampler(y, 2),
                                  lambda y: MPerClassSampler(y, 1, 1)])  # fmt: skip
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], r"^None of 0 items has a class to draw from\."),
        ([[0, 1]], r"^labels are int64\[1, 2\]\."),
        ([0.0], r"^labels are float64\[1\]\. Give one whole number or text for each item\.$"),
    ],
)
def test_labels_of_another_kind_are_refused_in_one_line(make, labels, message) -> None:
    with pytest.raises(DataError, match=message):
        make(labels)


def test_other_settings_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^alpha is nan\."):
        ClassBalancedSampler([0], 2, alpha=float("nan"))
    with pytest.raises(ConfigError, match=r"^classes_per_batch is 3, but there are 2 classes\."):
        MPerClassSampler([0, 1], 3, 1)


@given(labels_of, st.integers(1, 4), st.integers(1, 5), st.integers(1, 30), SEEDS)
def test_a_batch_has_some_classes_with_equally_many_distinct_items(
    labels, classes, samples, num_batches, seed
) -> None:
    if classes > len(np.unique(labels)):
        return
    sampler = MPerClassSampler(labels, classes, samples, batches_per_epoch=num_batches, seed=seed)
    batches = sampler.batches(3)
    assert len(batches) == num_batches
    for batch in batches:
        of_class = Counter(labels[batch].tolist())
        assert list(of_class.values()) == [samples] * classes
        for label in of_class:
            size = int((labels == label).sum())
            counts = Counter(batch[labels[batch] == label].tolist())
            assert len(counts) == min(size, samples)
            assert max(counts.values()) - min(counts.values()) <= 1


def test_groups_go_through_classes_and_items_in_rounds() -> None:
    labels = np.repeat(np.arange(5), 7)
    batches = MPerClassSampler(labels, 2, 3, batches_per_epoch=40, seed=1).batches(0)
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        # Of five classes, one sits out a round of two batches.
        assert len(set(labels[np.concatenate([first, second])].tolist())) == 4
    for label in range(5):
        mine = np.concatenate(batches)
        mine = mine[labels[mine] == label]
        rounds = mine[: len(mine) // 6 * 6].reshape(-1, 6)  # of seven items, one sits out
        assert all(len(set(items.tolist())) == 6 for items in rounds)
    counts = np.bincount(np.concatenate(batches), minlength=35)
    assert counts.min() > 0
    assert np.bincount(labels[np.concatenate(batches)]).max() <= 3 * 20


def test_items_of_a_class_are_grouped_anew_in_each_epoch() -> None:
    sampler = MPerClassSampler(np.zeros(9, dtype=int), 1, 3, batches_per_epoch=3)
    groups = {frozenset(batch.tolist()) for epoch in range(9) for batch in sampler.batches(epoch)}
    assert len(groups) > 9


def test_an_epoch_of_groups_is_about_as_long_as_the_set() -> None:
    assert MPerClassSampler(np.arange(40) % 4, 2, 5).num_batches(0) == 4
    assert MPerClassSampler([0, 1], 2, 5).num_batches(0) == 1
    (batch,) = MPerClassSampler([5], 1, 3).batches(0)
    assert batch.tolist() == [0, 0, 0]
