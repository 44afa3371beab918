"""Classes are spread, on a real collection: two of 25 recordists made 88 of 203 recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chirpid.data.splits import Folds, make_folds
from chirpid.types import GroupBy


def real_table(shared_data: Path, core: bool) -> pd.DataFrame:
    table = pd.read_csv(shared_data / "puerto-rico-birds" / "metadata.csv")
    return table[table["core"] == 1].reset_index(drop=True) if core else table


def real_folds(table: pd.DataFrame, **options: Any) -> tuple[Folds, np.ndarray, np.ndarray]:
    labels, names = pd.factorize(table["label"], sort=True)
    segments = np.maximum(1, np.ceil(table["duration_s"] / 5)).astype(int)
    folds = make_folds(
        kind=options.pop("kind", "grouped_kfold"),
        labels_R=labels,
        groups_R=table["group"].tolist(),
        audio_hash_R=table["sha256"].tolist(),
        official_R=np.full(len(table), -1),
        recording_N=np.repeat(np.arange(len(table)), segments),
        class_names=list(names),
        **options,
    )
    first = np.concatenate([[0], np.cumsum(segments)[:-1]])
    return folds, folds.fold_N[first], labels


def spread(fold_R: np.ndarray, labels: np.ndarray, num_folds: int) -> tuple[int, float]:
    """Return absences of a class from a fold, and the mean distance to the whole's label shares."""
    held = np.array([np.bincount(labels[fold_R == k], minlength=labels.max() + 1)
                     for k in range(num_folds)])  # fmt: skip
    shares = held / held.sum(axis=1, keepdims=True)
    whole = held.sum(axis=0) / held.sum()
    return int((held == 0).sum()), float(np.abs(shares - whole).sum(axis=1).mean() / 2)


@pytest.mark.parametrize("num_folds", [3, 4, 5, 8])
@pytest.mark.parametrize("core", [True, False])
def test_real_folds_lack_fewer_classes_than_those_of_scikit_learn(
    shared_data: Path, core: bool, num_folds: int
) -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    table = real_table(shared_data, core)
    _, fold_R, labels = real_folds(table, num_folds=num_folds)
    ours = spread(fold_R, labels, num_folds)
    for seed in range(5):
        theirs_R = np.zeros(len(table), dtype=int)
        split = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
        for k, (_, held) in enumerate(split.split(table, labels, table["group"])):
            theirs_R[held] = k
        theirs = spread(theirs_R, labels, num_folds)
        assert ours[0] <= theirs[0]
        # Spreading rare classes costs at most a little likeness of the label shares.
        assert ours[1] <= theirs[1] + 0.02


@pytest.mark.parametrize("seed", range(5))
def test_every_core_class_is_in_every_one_of_five_real_folds(shared_data: Path, seed: int) -> None:
    folds, fold_R, labels = real_folds(real_table(shared_data, core=True), seed=seed)
    assert spread(fold_R, labels, 5)[0] == 0
    assert not any("Not validated" in note for note in folds.notes)


def test_the_ani_of_one_busy_recordist_is_reported(shared_data: Path) -> None:
    folds, _, _ = real_folds(real_table(shared_data, core=False))
    starved = [note for note in folds.notes if note.startswith("Little left to train on")]
    absent = [note for note in folds.notes if note.startswith("Not validated in every fold")]
    assert "Smooth-billed Ani (2 of 18 left in fold" in starved[0]
    assert "Smooth-billed Ani (3; not in" in absent[0]


def test_real_windows_split_at_random_put_most_recordists_on_both_sides(shared_data: Path) -> None:
    folds, _, _ = real_folds(real_table(shared_data, core=True), group_by=GroupBy.segment)
    assert folds.leaky
    assert any("groups are on both sides" in note for note in folds.notes)
