"""What is held out: never on both sides, never by chance another time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.errors import ConfigError, DataError
from chirpid.loading.universal.splitting import Split, given_split, hold_out
from tests.examples import examples

fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**40)


def parts(split: Split) -> tuple[set[int], set[int]]:
    return set(split.train_N.tolist()), set(split.val_N.tolist())


@settings(max_examples=examples(50))
@given(num=st.integers(2, 300), fraction=fractions, seed=seeds)
def test_each_sample_is_on_one_side_and_no_side_is_empty(
    num: int, fraction: float, seed: int
) -> None:
    split = hold_out(num, fraction, seed=seed)
    train, val = parts(split)
    assert train | val == set(range(num))
    assert not train & val
    assert len(val) == min(max(int(num * fraction + 0.5), 1), num - 1)
    assert split.fingerprint() == hold_out(num, fraction, seed=seed).fingerprint()


@settings(max_examples=examples(40), deadline=None)
@given(
    groups=st.lists(st.integers(0, 12), min_size=2, max_size=40).filter(lambda g: len(set(g)) > 1),
    fraction=fractions,
    seed=seeds,
    labels=st.one_of(st.none(), st.integers(1, 4)),
)
def test_no_group_is_on_both_sides(
    groups: list[int], fraction: float, seed: int, labels: int | None
) -> None:
    group_N = pd.Series(groups)
    label_N = None if labels is None else pd.Series(np.arange(len(groups)) % labels)
    split = hold_out(len(groups), fraction, seed=seed, group_N=group_N, label_N=label_N)
    train, val = parts(split)
    assert train | val == set(range(len(groups)))
    assert train
    assert val
    assert not set(group_N[sorted(train)]) & set(group_N[sorted(val)])


@settings(max_examples=examples(30))
@given(order=st.permutations(range(12)), seed=seeds)
def test_the_order_of_samples_does_not_decide_which_groups_are_held_out(
    order: list[int], seed: int
) -> None:
    group_N = pd.Series(list("aabbbccddefg"))
    shuffled_N = group_N[order].reset_index(drop=True)
    first = hold_out(12, 0.3, seed=seed, group_N=group_N)
    second = hold_out(12, 0.3, seed=seed, group_N=shuffled_N)
    assert set(group_N[first.val_N]) == set(shuffled_N[second.val_N])


def test_another_seed_holds_out_others() -> None:
    found = {tuple(hold_out(50, 0.2, seed=seed).val_N.tolist()) for seed in range(20)}
    assert len(found) == 20


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_whole_groups_come_as_near_to_the_fraction_as_one_group(fraction: float) -> None:
    sizes = np.random.default_rng(0).integers(1, 20, 200)
    group_N = pd.Series(np.repeat(np.arange(200), sizes))
    split = hold_out(len(group_N), fraction, seed=3, group_N=group_N)
    assert abs(len(split.val_N) - fraction * len(group_N)) <= 10


def test_each_class_is_held_out_in_its_share() -> None:
    label_N = pd.Series(["rare"] * 10 + ["common"] * 90)
    split = hold_out(100, 0.2, seed=0, label_N=label_N)
    assert label_N[split.val_N].value_counts().to_dict() == {"common": 18, "rare": 2}
    lone = hold_out(11, 0.2, seed=0, label_N=pd.Series(["one"] + ["more"] * 10))
    assert 0 in lone.train_N


@pytest.mark.parametrize(
    ("number", "more", "message"),
    [
        (1, {}, "cannot be split"),
        (4, {"group_N": pd.Series(["a"] * 4)}, "one group, 'a'"),
        (3, {"label_N": pd.Series(["a", "b", "c"])}, "class of its own"),
    ],
)
def test_too_few_are_refused_with_what_to_do(
    number: int, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        hold_out(number, 0.2, seed=0, **more)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0])
def test_a_fraction_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        hold_out(10, fraction, seed=0)


def test_a_split_that_is_given_is_taken_as_it_is() -> None:
    split = given_split(([4, 0, 2], [1, 3]), 5)
    assert split.train_N.tolist() == [4, 0, 2]
    assert split.fingerprint() != given_split(([0, 2], [1, 3]), 5).fingerprint()


@pytest.mark.parametrize(
    ("split", "kind", "message"),
    [
        (([0, 1], [1, 2]), DataError, "both sides, as 1"),
        (([0, 0], [1]), DataError, "comes twice"),
        (([0], [9]), DataError, "names sample 9"),
        (([-1], [0]), DataError, "from 0 on"),
        (([0], []), ConfigError, "no ids to validate"),
        (([0, 1, 2],), ConfigError, "no pair"),
        ("train", ConfigError, "no pair"),
    ],
)
def test_a_split_that_leaks_or_names_no_samples_is_refused(
    split: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        given_split(split, 5)
