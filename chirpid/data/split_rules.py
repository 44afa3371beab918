"""What a set must have to be split, and what its owner should know about the split.

Letters: R recordings, N segments, C classes, K folds, U units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chirpid.data.units import Units
from chirpid.errors import ConfigError, DataError
from chirpid.types import GroupBy, IntArray

_MANY = 5
_FEW_TO_TRAIN = 1 / 3


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The recordings that have segments, renumbered without gaps, and the segments."""

    labels_R: IntArray
    groups_R: list[str]
    audio_hash_R: list[str]
    official_R: IntArray
    recording_N: IntArray
    class_names: tuple[str, ...]

    @staticmethod
    def of(
        labels_R: IntArray,
        groups_R: Sequence[str],
        audio_hash_R: Sequence[str],
        official_R: IntArray,
        recording_N: IntArray,
        class_names: Sequence[str],
    ) -> Table:
        """Return the table of the recordings that `recording_N` names."""
        num = len(labels_R)
        assert len(groups_R) == len(audio_hash_R) == len(official_R) == num
        used, renumbered_N = np.unique(np.asarray(recording_N, np.int64), return_inverse=True)
        return Table(
            labels_R=np.asarray(labels_R, dtype=np.int64)[used],
            groups_R=[str(groups_R[row]) for row in used],
            audio_hash_R=[str(audio_hash_R[row]) for row in used],
            official_R=np.asarray(official_R, dtype=np.int64)[used],
            recording_N=renumbered_N.astype(np.int64),
            class_names=tuple(class_names),
        )

    @property
    def labels_N(self) -> IntArray:
        """Return the class of each segment, int64 [N]."""
        return self.labels_R[self.recording_N]

    @property
    def names_N(self) -> list[str]:
        """Return the name of the class of each segment."""
        return [self.class_names[label] for label in self.labels_N]

    @property
    def groups_N(self) -> list[str]:
        """Return the group of each segment."""
        return [self.groups_R[row] for row in self.recording_N]

    @property
    def audio_hash_N(self) -> list[str]:
        """Return the audio hash of each segment's recording."""
        return [self.audio_hash_R[row] for row in self.recording_N]


def require_data(table: Table) -> None:
    """Raise DataError for a set without segments or of one class."""
    if not len(table.recording_N):
        raise DataError(
            "There is no segment to split: no recording, or all too quiet or too short. "
            "Check dataset.filter, segment.min_dbfs and segment.min_s."
        )
    classes = np.unique(table.labels_R)
    if len(classes) < 2:
        raise DataError(
            f"All {len(table.labels_R)} recordings are of one class, "
            f"{table.class_names[int(classes[0])]!r}. Add recordings of another: "
            "a classifier needs two."
        )


def require_splittable(
    table: Table, units: Units, group_by: GroupBy, num_folds: int | None
) -> None:
    """Raise if units cannot be shared out over the folds.

    Args:
        num_folds: of cross-validation; None for a hold-out.
    Raises:
        DataError: one group, or no class with two units.
        ConfigError: fewer units than folds.
    """
    num_R = len(table.labels_R)
    word = "recording" if group_by is GroupBy.recording else "group"
    units_C = units_per_class(table.labels_R, units.unit_R, len(table.class_names))
    if num_R == len(np.unique(table.labels_R)):
        raise DataError(
            f"Every one of the {num_R} classes has one recording, so a species that is validated "
            "was never trained on. Add recordings: two or more of each species, better ten."
        )
    if len(units) == 1:
        raise DataError(
            f"All {num_R} recordings are of one {word}, {units.names[0]!r}, so none can be held "
            "out. Set dataset.group_column, or cv.group_by=recording and expect flattering scores."
        )
    if units_C.max() == 1:
        name = table.class_names[int(table.labels_R[0])]
        raise DataError(
            f"Every class comes from a single {word} ({name!r} from "
            f"{units.names[units.unit_R[0]]!r}), so a species that is validated was never "
            "trained on. Add recordists for each species, or set cv.group_by=recording and "
            "expect flattering scores."
        )
    if num_folds is not None and len(units) < num_folds:
        raise ConfigError(
            f"cv.num_folds={num_folds} needs as many {word}s, and there are {len(units)}. "
            f"Set cv.num_folds={len(units)} or less."
        )


def require_official(official_R: IntArray) -> None:
    """Raise unless the official folds leave something to validate and something to train on."""
    folds = np.unique(official_R)
    if folds.max() < 0:
        raise ConfigError(
            "cv=predefined needs official folds, and there are none. "
            "Set dataset.fold_column, or use cv=grouped_kfold."
        )
    if len(folds) < 2:
        raise DataError(
            f"All recordings are in one official fold ({folds[0]}), so nothing is left to train "
            "on. Use a column with two folds or more, or cv=holdout."
        )


def units_per_class(labels: IntArray, unit: IntArray, num_classes: int) -> IntArray:
    """Return how many different units each class comes from, int64 [C]."""
    return np.bincount(_pairs(labels, unit)[0], minlength=num_classes).astype(np.int64)


def _pairs(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray]:
    """Return the pairs that occur, each once, ascending. `second` must not be negative."""
    width = int(second.max()) + 1
    pairs = np.unique(first * width + second)
    return pairs // width, pairs % width


def notes_of(table: Table, grouped: Units, unit_N: IntArray, fold_N: IntArray) -> tuple[str, ...]:
    """Return what the owner of the set should know about the split, one line each.

    Args:
        grouped: groups united by duplicate audio.
        unit_N: what was kept together in fact; a part of a group if the split leaks on purpose.
    """
    lines = [
        *_duplicate_notes(grouped),
        *_leak_notes(grouped, grouped.unit_R[table.recording_N], fold_N),
        *_size_notes(table, fold_N),
        *_class_notes(table, unit_N, fold_N),
    ]
    return tuple(lines)


def _duplicate_notes(grouped: Units) -> list[str]:
    if not grouped.num_duplicates:
        return []
    line = f"{grouped.num_duplicates} recordings have the same audio as another one"
    if grouped.joined:
        line += f"; these groups share some and are one group here: {_some(grouped.joined)}"
    return [line + "."]


def _leak_notes(grouped: Units, grouped_N: IntArray, fold_N: IntArray) -> list[str]:
    split = split_units(grouped_N, fold_N)
    if not len(split):
        return []
    return [
        f"This split leaks: {len(split)} of {len(grouped)} groups are on both sides "
        f"({_some(grouped.names[unit] for unit in split)}). Scores will be too good."
    ]


def split_units(unit_N: IntArray, fold_N: IntArray) -> IntArray:
    """Return the units whose segments are in more than one fold, int64, ascending."""
    order = np.lexsort((fold_N, unit_N))
    unit, fold = unit_N[order], fold_N[order]
    crosses = (unit[1:] == unit[:-1]) & (fold[1:] != fold[:-1])
    return np.unique(unit[1:][crosses])


def _size_notes(table: Table, fold_N: IntArray) -> list[str]:
    """Name folds of very different size, and recordings that are never validated."""
    num_folds = int(fold_N.max()) + 1
    pairs = _pairs(fold_N, table.recording_N)[0]
    lines = []
    if num_folds > 1:
        held_K = np.bincount(pairs[pairs >= 0], minlength=num_folds)
        if held_K.max() > 1.5 * held_K.min():
            lines.append(
                f"Folds are unequal, as large groups stay whole: "
                f"{', '.join(map(str, held_K))} recordings."
            )
        if (pairs < 0).any():
            lines.append(
                f"{int((pairs < 0).sum())} recordings have no official fold: "
                "they are trained on in every fold and never validated."
            )
    return lines


def _class_notes(table: Table, unit_N: IntArray, fold_N: IntArray) -> list[str]:
    """Name the classes that the split cannot treat well, each in the gravest way that holds."""
    num_folds, num_classes = int(fold_N.max()) + 1, len(table.class_names)
    held_KC, total_C = _held(table, fold_N, num_folds)
    units_C = units_per_class(table.labels_N, unit_N, num_classes)
    missing: list[str] = []
    untrained: list[str] = []
    starved: list[str] = []
    absent: list[str] = []
    for c, name in enumerate(table.class_names):
        worst = int(held_KC[:, c].max())
        gaps = np.flatnonzero(held_KC[:, c] == 0)
        if not total_C[c]:
            missing.append(name)
        elif worst == total_C[c]:
            untrained.append(f"{name} ({_count(units_C[c], 'group')})")
        elif total_C[c] - worst < _FEW_TO_TRAIN * total_C[c]:
            fold = int(held_KC[:, c].argmax())
            starved.append(f"{name} ({total_C[c] - worst} of {total_C[c]} left in fold {fold})")
        if total_C[c] and len(gaps):
            absent.append(f"{name} ({units_C[c]}; not in {', '.join(map(str, gaps))})")
    return [
        *_line("No segments at all: {}.", missing),
        *_line("Validated in one fold that could not train on it, cannot be split: {}.", untrained),
        *_line("Little left to train on in one fold, most is from one group: {}.", starved),
        *_line("Not validated in every fold, too few groups (their number; folds): {}.", absent),
    ]


def _held(table: Table, fold_N: IntArray, num_folds: int) -> tuple[IntArray, IntArray]:
    """Return the recordings of each class in each fold [K, C] and in all [C].

    Where the split cuts recordings apart, segments are counted instead.
    """
    item_N, label_of = table.recording_N, table.labels_R
    if len(split_units(item_N, fold_N)):
        item_N, label_of = np.arange(len(fold_N), dtype=np.int64), table.labels_N
    fold, item = _pairs(fold_N, item_N)
    held_KC = np.zeros((num_folds, len(table.class_names)), dtype=np.int64)
    np.add.at(held_KC, (fold[fold >= 0], label_of[item[fold >= 0]]), 1)
    return held_KC, np.bincount(label_of, minlength=len(table.class_names)).astype(np.int64)


def _line(text: str, items: list[str]) -> list[str]:
    return [text.format(_some(items))] if items else []


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _some(items: Iterable[str]) -> str:
    known = list(items)
    rest = f" and {len(known) - _MANY} more" if len(known) > _MANY else ""
    return "; ".join(known[:_MANY]) + rest
