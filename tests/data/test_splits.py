"""Folds: what is alike stays together, gaps are reported, what cannot be had is refused."""

from __future__ import annotations

import numpy as np
import pytest

from chirpid.data.splits import Folds, check_no_leak, inner_split
from chirpid.errors import ConfigError, DataError
from chirpid.types import GroupBy
from tests.folding import fold_sets, folds_of


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


def test_an_inner_split_has_about_its_share_and_every_class() -> None:
    labels, groups = [0, 1, 2] * 40, [f"by {i // 5}" for i in range(120)]
    folds, recording_N = folds_of(labels, groups)
    labels_N = np.asarray(labels)[recording_N]
    train, inner = inner_split(folds.train_ids(1), labels_N, folds.unit_N, fraction=0.2, seed=1)
    assert 0.12 < len(inner) / (len(train) + len(inner)) < 0.28
    assert set(labels_N[inner]) == set(labels_N[train]) == {0, 1, 2}
