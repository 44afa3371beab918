"""The table of recordings that everything else starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

TABLE_COLUMNS = ("recording", "label", "group", "fold", "secondary")
CHECKED_COLUMNS = (
    "sample_rate_hz",
    "num_frames",
    "num_channels",
    "format",
    "channel",
    "file_hash",
    "audio_hash",
)
NO_FOLD = -1
"""Fold of a recording that is never validated, always trained on."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one recording cannot be used."""

    recording: str
    """Path as in the table, or the row if it names no file."""
    reason: str
    blocking: bool = False
    """Stops even where bad recordings are skipped, because another setting decides about it."""
    exists: bool = False
    """The row is wrong, but its file is there: it is checked too, so that one pass names all."""

    def __str__(self) -> str:
        return f"{self.recording}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Recordings with labels and groups.

    `table` has a RangeIndex and one row a recording:
        recording   posix path relative to `root`, unique
        label       one of `classes`
        group       what must not be on both sides of a split
        fold        official fold from 0, or -1 (int64)
        secondary   further classes heard, joined by ";", or ""
    and, once checked:
        sample_rate_hz, num_frames, num_channels, channel  int64, as decoded; channel -1 is the mean
        format      "WAV", "FLAC", "OGG", "MP3", ...
        file_hash   hex, of the bytes of the file
        audio_hash  hex, of the decoded samples; equal for duplicate audio
    """

    name: str
    root: Path
    table: pd.DataFrame
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """Warnings for the user, one line each."""
    synthetic: bool = False
    problems: tuple[Problem, ...] = ()
    """Rows that could not become recordings; `check_recordings` reports them with the rest."""

    def __len__(self) -> int:
        return len(self.table)

    def path(self, row: int) -> Path:
        """Return where recording `row` lies."""
        return self.root / str(self.table["recording"].iloc[row])

    @property
    def paths(self) -> list[Path]:
        """Where the recordings lie, in table order."""
        return [self.root / name for name in self.table["recording"]]

    @property
    def label_ids(self) -> npt.NDArray[np.int64]:
        """int64 [recordings]: index of each recording's label in `classes`."""
        known = {label: index for index, label in enumerate(self.classes)}
        return np.asarray([known[label] for label in self.table["label"]], dtype=np.int64)

    @property
    def is_checked(self) -> bool:
        """Whether the recordings themselves were looked at."""
        return all(column in self.table for column in CHECKED_COLUMNS)

    def keep(self, mask: npt.NDArray[np.bool_]) -> Manifest:
        """Return the recordings for which `mask` holds; classes and secondary labels follow."""
        table = self.table[mask].reset_index(drop=True)
        return make_manifest(self.name, self.root, table).with_(
            notes=self.notes, synthetic=self.synthetic, problems=self.problems
        )

    def with_(self, **changes: Any) -> Manifest:
        """Return the same with some fields replaced."""
        return replace(self, **changes)


def make_manifest(name: str, root: Path, table: pd.DataFrame) -> Manifest:
    """Return a manifest of `table`, with classes from its labels.

    Missing `fold` and `secondary` columns are filled with -1 and "". Secondary labels that are no
    class, or the label itself, are left out.
    """
    table = table.reset_index(drop=True).copy()
    if "fold" not in table:
        table["fold"] = NO_FOLD
    if "secondary" not in table:
        table["secondary"] = ""
    table["fold"] = table["fold"].astype("int64")
    classes = tuple(sorted(set(table["label"])))
    known = set(classes)
    table["secondary"] = [
        ";".join(sorted({part for part in text.split(";") if part in known and part != label}))
        for text, label in zip(table["secondary"], table["label"], strict=True)
    ]
    extra = [column for column in CHECKED_COLUMNS if column in table]
    return Manifest(name=name, root=root, table=table[[*TABLE_COLUMNS, *extra]], classes=classes)
