"""splits.csv: what is written is read back, with its hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chirpid.data.split_files import read_splits, write_splits
from chirpid.errors import DataError
from tests.folding import folds_of


def test_splits_are_read_back_with_the_hash_they_were_written_with(tmp_path: Path) -> None:
    labels, groups = [0, 1] * 10, [f'Ada, "the {i // 2}th" ñ' for i in range(20)]
    folds, recording_N = folds_of(labels, groups)
    names = [f"audio/α {i}.wav" for i in range(20)]
    ids = [f"{names[r]}@{n}.000" for n, r in enumerate(recording_N)]
    written = write_splits(tmp_path / "splits.csv", folds, recordings_R=names, groups_R=groups,
                           labels_R=np.asarray(labels), class_names=["NA", "Tody"],
                           recording_N=recording_N, segments_N=ids)  # fmt: skip
    table, again = read_splits(tmp_path / "splits.csv")
    # The same data under the names it has in the file.
    assert written == folds.hash
    assert list(table.columns) == ["segment_id", "recording", "group", "label", "fold"]
    assert table["segment_id"].tolist() == ids
    assert np.array_equal(again.fold_N, folds.fold_N)
    assert table["label"].tolist() == ["NA" if labels[r] == 0 else "Tody" for r in recording_N]
    assert table["group"].tolist() == [groups[r] for r in recording_N]


def test_a_torn_or_foreign_split_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    for text in (
        "",
        "a,b\n1,2\n",
        "segment_id,recording,group,label,fold\nr@0,r,g,l,0\nr@0,r,g,l,1\n",
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=r"splits\.csv"):
            read_splits(path)
