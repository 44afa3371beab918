"""The split on disk: `splits.csv`, one row a segment, for people and other programs.

Columns: segment_id, recording, group, label, fold. Fold -1 is trained on in every fold.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from chirpid.data.splits import Folds, identity_of
from chirpid.errors import DataError
from chirpid.storage.atomic import write_text
from chirpid.types import IntArray

COLUMNS = ("segment_id", "recording", "group", "label", "fold")


def write_splits(
    path: Path,
    folds: Folds,
    *,
    recordings_R: Sequence[str],
    groups_R: Sequence[str],
    labels_R: IntArray,
    class_names: Sequence[str],
    recording_N: IntArray,
    segments_N: Sequence[str],
) -> str:
    """Write the split, whole or not at all, and return `folds.hash`.

    The hash can be found again from the file alone: `read_splits(path).hash`.

    Args:
        recordings_R: name of each recording; recording_N: the recording of each segment.
        segments_N: name of each segment, no two alike.
    Raises:
        StorageError: the file cannot be written.
    """
    labels = np.asarray(class_names, dtype=object)[np.asarray(labels_R, dtype=np.int64)]
    table = pd.DataFrame(
        {
            "segment_id": np.asarray(segments_N, dtype=object),
            "recording": np.asarray(recordings_R, dtype=object)[recording_N],
            "group": np.asarray(groups_R, dtype=object)[recording_N],
            "label": labels[recording_N],
            "fold": folds.fold_N,
        }
    )
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    write_text(path, buffer.getvalue())
    return folds.hash


def read_splits(path: Path) -> tuple[pd.DataFrame, Folds]:
    """Return the table of `splits.csv` and its folds, which have the hash they were written with.

    What the file does not hold is not restored: notes, and which groups duplicate audio united.

    Raises:
        DataError: not a split file, or rows are missing.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = table.astype({"fold": np.int64})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as splits: {error}.") from error
    if tuple(table.columns) != COLUMNS:
        found = ", ".join(map(str, table.columns))
        raise DataError(f"{path} has columns {found}, not {', '.join(COLUMNS)}.")
    if not len(table) or table["segment_id"].duplicated().any():
        raise DataError(f"{path} is not whole: it has no rows, or one segment_id twice.")
    fold_N = table["fold"].to_numpy()
    folds = Folds(
        fold_N=fold_N,
        num_folds=int(fold_N.max()) + 1,
        kind="from file",
        unit_N=pd.factorize(table["group"])[0].astype(np.int64),
        identity=identity_of(
            table["label"].tolist(), table["group"].tolist(), table["recording"].tolist()
        ),
    )
    return table, folds
