"""Whatever is split: nothing leaks, each segment is validated once, in any order of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.data import balance
from chirpid.data.splits import Folds, inner_split
from chirpid.errors import ConfigError, DataError
from chirpid.types import GroupBy
from tests.examples import examples
from tests.folding import fold_sets, folds_of


@st.composite
def collections(draw: st.DrawFn) -> dict[str, Any]:
    """Recordings of 2 to 5 classes by 6 to 12 recordists, some uploaded twice."""
    num = draw(st.integers(14, 40))
    num_groups = draw(st.integers(6, 12))
    labels = draw(st.lists(st.integers(0, 4), min_size=num, max_size=num))
    groups = draw(st.lists(st.integers(0, num_groups - 1), min_size=num, max_size=num))
    copies = draw(st.dictionaries(st.integers(0, num - 1), st.integers(0, num - 1), max_size=3))
    # Two classes shared by two recordists each, so that the set can be split at all.
    labels[:8], groups[:8] = [0, 1] * 4, [0, 0, 1, 1, 2, 2, 3, 3]
    return {
        "labels": labels,
        "groups": [f"by {group}" for group in groups],
        "audio": [f"hash {copies.get(row, row)}" for row in range(num)],
        "segments": draw(st.lists(st.integers(0, 4), min_size=num, max_size=num)),
        "seed": draw(st.integers(0, 5)),
    }


@contextmanager
def few_starts() -> Iterator[None]:
    """Look for the best folds from fewer starts.

    More make folds more alike, and take most of the time of a small set. That nothing is lost,
    torn or on two sides holds from any start.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(balance, "_MAX_STARTS", 8)
        yield


def splittable(**case: Any) -> tuple[Folds, np.ndarray] | None:
    try:
        with few_starts():
            return folds_of(**case)
    except (DataError, ConfigError) as error:
        if "leaks" in str(error):
            raise
        return None


@given(collections(), st.sampled_from(["grouped_kfold", "holdout"]))
@settings(max_examples=examples(60), deadline=None)
def test_no_recordist_recording_or_duplicate_audio_is_in_two_folds(
    case: dict[str, Any], kind: str
) -> None:
    made = splittable(**case, kind=kind, num_folds=3)
    if made is None:
        return
    folds, recording_N = made
    for keys_R in (list(range(len(case["labels"]))), case["groups"], case["audio"]):
        for inside in fold_sets(folds, [keys_R[row] for row in recording_N]).values():
            assert len(inside) == 1
    assert not folds.leaky


@given(collections())
@settings(max_examples=examples(40), deadline=None)
def test_every_segment_is_validated_exactly_once(case: dict[str, Any]) -> None:
    made = splittable(**case, num_folds=3)
    if made is None:
        return
    folds, recording_N = made
    seen = np.concatenate([folds.valid_ids(k) for k in range(folds.num_folds)])
    assert np.array_equal(np.sort(seen), np.arange(len(recording_N)))
    for k in range(folds.num_folds):
        both = np.concatenate([folds.train_ids(k), folds.valid_ids(k)])
        assert np.array_equal(np.sort(both), np.arange(len(recording_N)))
        assert len(folds.valid_ids(k))
        assert len(folds.train_ids(k))


@given(collections(), st.randoms(use_true_random=False), st.sampled_from(list(GroupBy)))
@settings(max_examples=examples(40), deadline=None)
def test_the_order_of_the_rows_does_not_matter(
    case: dict[str, Any], random: Any, group_by: GroupBy
) -> None:
    case = {**case, "audio": None, "segments": [s + 1 for s in case["segments"]]}
    num = len(case["labels"])
    order = list(range(num))
    random.shuffle(order)
    made = splittable(**case, num_folds=3, group_by=group_by)
    assert made is not None
    shuffled = {key: [case[key][i] for i in order] for key in ("labels", "groups", "segments")}
    again = splittable(**shuffled, audio=[f"audio {i}" for i in order], seed=case["seed"],
                       num_folds=3, group_by=group_by)  # fmt: skip
    assert again is not None
    for row, was in enumerate(order):
        assert again[0].fold_N[again[1] == row].tolist() == made[0].fold_N[made[1] == was].tolist()


@given(collections(), st.floats(0.1, 0.5))
@settings(max_examples=examples(40), deadline=None)
def test_an_inner_split_keeps_units_whole_and_leaves_both_parts_something(
    case: dict[str, Any], fraction: float
) -> None:
    made = splittable(**case, num_folds=3)
    if made is None:
        return
    folds, recording_N = made
    labels_N = np.asarray(case["labels"])[recording_N]
    ids = folds.train_ids(0)
    if len(np.unique(folds.unit_N[ids])) < 2:
        with pytest.raises(ConfigError, match=r"engine.selection=inner"):
            inner_split(ids, labels_N, folds.unit_N, fraction=fraction, seed=0)
        return
    with few_starts():
        train, inner = inner_split(ids, labels_N, folds.unit_N, fraction=fraction, seed=0)
    assert np.array_equal(np.sort(np.concatenate([train, inner])), ids)
    assert len(train)
    assert len(inner)
    assert not set(folds.unit_N[train]) & set(folds.unit_N[inner])
