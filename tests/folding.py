"""Small sets to split, for the tests of folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chirpid.data.splits import Folds, make_folds


def folds_of(
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    audio: Sequence[str] | None = None,
    official: Sequence[int] | None = None,
    segments: Sequence[int] | None = None,
    kind: str = "grouped_kfold",
    **options: Any,
) -> tuple[Folds, np.ndarray]:
    """Return folds, and the recording of each segment; two segments a recording by default."""
    num = len(labels)
    recording_N = np.repeat(np.arange(num), [2] * num if segments is None else segments)
    num_classes = max([*labels, 0]) + 1
    folds = make_folds(
        kind=kind,
        labels_R=np.asarray(labels, dtype=np.int64),
        groups_R=groups,
        audio_hash_R=audio or [f"audio {i}" for i in range(num)],
        official_R=np.full(num, -1) if official is None else np.asarray(official),
        recording_N=recording_N,
        class_names=[f"bird {c}" for c in range(num_classes)],
        **options,
    )
    return folds, recording_N


def fold_sets(folds: Folds, key_N: Sequence[Any]) -> dict[Any, set[int]]:
    """Return the folds in which each key occurs."""
    found: dict[Any, set[int]] = {}
    for key, fold in zip(key_N, folds.fold_N.tolist(), strict=True):
        found.setdefault(key, set()).add(fold)
    return found
