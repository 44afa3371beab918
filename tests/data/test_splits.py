"""Folds: nothing leaks, everything is validated once, gaps are reported, the rest refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.data.splits import Folds, check_no_leak, inner_split
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


def splittable(**case: Any) -> tuple[Folds, np.ndarray] | None:
    try:
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


def test_the_same_seed_gives_the_same_folds_and_hash() -> None:
    labels, groups = [0, 1, 2] * 12, [f"by {i // 3}" for i in range(36)]
    one, _ = folds_of(labels, groups, seed=3)
    two, _ = folds_of(labels, groups, seed=3)
    other, _ = folds_of(labels, groups, seed=4)
    assert np.array_equal(one.fold_N, two.fold_N)
    assert one.hash == two.hash != other.hash


def test_the_hash_tells_equal_folds_of_different_data_apart() -> None:
    groups = [f"by {i // 2}" for i in range(12)]
    one, _ = folds_of([0, 1] * 6, groups, num_folds=2, kind="predefined", official=[0, 1] * 6)
    two, _ = folds_of([1, 0] * 6, groups, num_folds=2, kind="predefined", official=[0, 1] * 6)
    assert np.array_equal(one.fold_N, two.fold_N)
    assert one.hash != two.hash


def test_recordings_with_the_same_audio_stay_together_and_are_named() -> None:
    groups = [f"by {i // 2}" for i in range(20)]
    audio = [f"audio {i}" for i in range(20)]
    audio[19] = audio[0]
    folds, _ = folds_of([0, 1] * 10, groups, audio=audio)
    assert folds.fold_N[0] == folds.fold_N[-1]
    assert any("same audio" in note and "by 0; by 9" in note for note in folds.notes)


def test_unknown_audio_unites_nothing() -> None:
    folds, _ = folds_of([0, 1] * 10, [f"by {i // 2}" for i in range(20)], audio=[""] * 20)
    assert folds.num_folds == 5
    assert len(np.unique(folds.unit_N)) == 10


def test_a_chain_of_duplicates_unites_all_its_groups() -> None:
    audio = ["x", "1", "x", "y", "4", "y", *map(str, range(6, 20))]
    groups = ["a", "a", "b", "b", "c", "c", *(f"by {i // 2}" for i in range(6, 20))]
    folds, _ = folds_of([0, 1] * 10, groups, audio=audio, num_folds=4)
    assert len(set(folds.fold_N[:12].tolist())) == 1


def test_segments_at_random_leak_and_say_so() -> None:
    labels, groups = [0, 1, 2] * 10, [f"by {i // 3}" for i in range(30)]
    by_recording, recording_N = folds_of(labels, groups, group_by=GroupBy.recording)
    by_segment, _ = folds_of(labels, groups, group_by=GroupBy.segment, segments=[5] * 30)
    assert by_recording.leaky
    assert by_segment.leaky
    assert all(len(inside) == 1 for inside in fold_sets(by_recording, recording_N).values())
    assert any(len(i) > 1 for i in fold_sets(by_segment, np.repeat(np.arange(30), 5)).values())
    assert any("leaks" in note for note in by_recording.notes)
    assert by_recording.kind == "grouped_kfold by recording"


def test_classes_of_single_recordings_are_dealt_out_evenly() -> None:
    labels = np.repeat([0, 1, 2], [20, 11, 7])
    folds, _ = folds_of(labels.tolist(), [f"by {i}" for i in range(38)], segments=[1] * 38)
    held = np.array([np.bincount(labels[folds.fold_N == k], minlength=3) for k in range(5)])
    assert (held.max(axis=0) - held.min(axis=0) <= 1).all()


def test_a_class_of_one_recordist_is_named() -> None:
    labels = [0] * 10 + [1] * 10 + [2] * 4
    groups = [f"by {i % 5}" for i in range(20)] + ["by 0"] * 4
    folds, _ = folds_of(labels, groups)
    assert any("bird 2 (1 group)" in note for note in folds.notes)
    assert any("bird 2 (1; not in" in note for note in folds.notes)


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="of one class, 'bird 0'"):
        folds_of([0] * 10, [f"by {i}" for i in range(10)])


def test_one_recordist_is_refused() -> None:
    with pytest.raises(DataError, match=r"one group, 'Ana'.*dataset.group_column"):
        folds_of([0, 1] * 5, ["Ana"] * 10)


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"cv.num_folds=5 .* there are 3.*cv.num_folds=3"):
        folds_of([0, 1] * 6, [f"by {i // 4}" for i in range(12)])


def test_one_recording_per_class_is_refused() -> None:
    for kind in ("grouped_kfold", "holdout"):
        with pytest.raises(DataError, match="Every one of the 12 classes has one recording"):
            folds_of(list(range(12)), [f"by {i}" for i in range(12)], kind=kind)


def test_one_recordist_per_class_is_refused() -> None:
    with pytest.raises(DataError, match="Every class comes from a single group"):
        folds_of([0, 1, 2, 3, 4] * 3, [f"by {i % 5}" for i in range(15)])


def test_a_set_without_segments_is_refused() -> None:
    with pytest.raises(DataError, match="no segment to split"):
        folds_of([0, 1], ["a", "b"], segments=[0, 0])
    with pytest.raises(DataError, match="no segment to split"):
        folds_of([], [])


def test_recordings_without_segments_play_no_part() -> None:
    labels, groups = [0, 1] * 12, [f"by {i // 2}" for i in range(24)]
    segments = [3] * 22 + [0, 0]
    whole, _ = folds_of(labels, groups, segments=segments)
    short, _ = folds_of(labels[:22], groups[:22], segments=segments[:22])
    assert np.array_equal(whole.fold_N, short.fold_N)


def test_a_holdout_takes_its_share_by_whole_groups() -> None:
    labels, groups = [0, 1, 2] * 30, [f"by {i // 4}" for i in range(90)]
    folds, recording_N = folds_of(labels, groups, kind="holdout", holdout_fraction=0.3)
    held = folds.fold_N == 0
    assert folds.num_folds == 1
    assert set(folds.fold_N.tolist()) == {0, -1}
    assert 0.22 < held.mean() < 0.38
    assert all(len(i) == 1 for i in fold_sets(folds, [groups[r] for r in recording_N]).values())
    assert {labels[r] for r in recording_N[held]} == {0, 1, 2}


def test_a_holdout_never_takes_the_only_recording_of_a_class() -> None:
    labels = [0] * 20 + [1] * 20 + [2]
    folds, recording_N = folds_of(labels, [f"by {i}" for i in range(41)], kind="holdout")
    assert (folds.fold_N[recording_N == 40] == -1).all()


def test_official_folds_are_kept() -> None:
    official = [3, 1, 2, 5, 4] * 4
    groups = [f"by {i % 5}" for i in range(20)]
    folds, recording_N = folds_of([0] * 10 + [1] * 10, groups, kind="predefined", official=official)
    assert folds.num_folds == 5
    assert not folds.leaky
    assert (folds.fold_N == np.asarray(official)[recording_N] - 1).all()


def test_official_folds_that_split_a_recordist_are_reported() -> None:
    folds, _ = folds_of([0, 1] * 6, ["a", "b"] * 6, kind="predefined", official=[0, 1, 2] * 4)
    assert folds.leaky
    assert any("2 of 2 groups are on both sides (a; b)" in note for note in folds.notes)


def test_recordings_without_an_official_fold_are_always_trained_on() -> None:
    folds, _ = folds_of([0, 1] * 4, [f"by {i}" for i in range(8)], kind="predefined",
                        official=[0, 0, 1, 1, -1, -1, -1, 1])  # fmt: skip
    always = np.flatnonzero(folds.fold_N == -1)
    assert len(always) == 6
    for k in range(2):
        assert set(always) <= set(folds.train_ids(k))
    assert any("3 recordings have no official fold" in note for note in folds.notes)


def test_official_folds_must_be_there_and_leave_something_to_train_on() -> None:
    groups = [f"by {i}" for i in range(8)]
    with pytest.raises(ConfigError, match=r"dataset.fold_column"):
        folds_of([0, 1] * 4, groups, kind="predefined")
    with pytest.raises(DataError, match="one official fold"):
        folds_of([0, 1] * 4, groups, kind="predefined", official=[2] * 8)


def test_a_kind_or_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cv.kind=loo is unknown"):
        folds_of([0, 1], ["a", "b"], kind="loo")
    folds, _ = folds_of([0, 1] * 10, [f"by {i}" for i in range(20)])
    with pytest.raises(ConfigError, match=r"no fold 5: cv.folds may name 0 to 4"):
        folds.valid_ids(5)


@pytest.mark.parametrize("word", ["recording", "group", "audio"])
def test_the_leak_check_finds_a_leak(word: str) -> None:
    folds = Folds(np.array([0, 0, 1, 1, -1]), 2, "by hand")
    keys = {"recording": [0, 1, 2, 3, 4], "group": list("abcde"), "audio": ["", "", "x", "y", "z"]}
    check_no_leak(folds, keys["recording"], keys["group"], keys["audio"])
    keys[word] = ["p", "q", "q", "r", "r"]
    with pytest.raises(DataError, match=f"leaks: {word} 'q' is in folds 0, 1, and 2 of 3"):
        check_no_leak(folds, keys["recording"], keys["group"], keys["audio"])


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
    train, inner = inner_split(ids, labels_N, folds.unit_N, fraction=fraction, seed=0)
    assert np.array_equal(np.sort(np.concatenate([train, inner])), ids)
    assert len(train)
    assert len(inner)
    assert not set(folds.unit_N[train]) & set(folds.unit_N[inner])


def test_an_inner_split_has_about_its_share_and_every_class() -> None:
    labels, groups = [0, 1, 2] * 40, [f"by {i // 5}" for i in range(120)]
    folds, recording_N = folds_of(labels, groups)
    labels_N = np.asarray(labels)[recording_N]
    train, inner = inner_split(folds.train_ids(1), labels_N, folds.unit_N, fraction=0.2, seed=1)
    assert 0.12 < len(inner) / (len(train) + len(inner)) < 0.28
    assert set(labels_N[inner]) == set(labels_N[train]) == {0, 1, 2}
