"""Which recordings belong together, and which official fold each is in."""

from __future__ import annotations

from dataclasses import dataclass

from chirpid.data.labels import counted, tidy, unite_groups
from chirpid.data.manifest import NO_FOLD, Problem
from chirpid.data.tables import Table
from chirpid.types import OnBad

GROUP_COLUMNS = ("group", "recordist", "author")
_ALWAYS_TRAINED = {"", "-1", "train", "training"}


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups in row order, problems of rows without one, and notes."""

    groups: list[str]
    problems: dict[int, Problem]
    """Index in `groups` to what is wrong there."""
    notes: list[str]


def choose_group_column(table: Table, wanted: str | None) -> str | None:
    """Return the column that holds groups, or None if there is none.

    Raises:
        DataError: `wanted` is not a column.
    """
    if wanted is not None:
        table.require(wanted, "dataset.group_column")
        return wanted
    for column in GROUP_COLUMNS:
        if column in table.columns and any(tidy(cell) for cell in table.frame[column]):
            return column
    return None


def group_rows(
    recordings: list[str], cells: list[str] | None, column: str | None, missing: OnBad
) -> Grouping:
    """Return a group for each recording.

    Args:
        cells: what the group column holds; None if there is no such column.
        missing: rows with an empty cell are problems (stop), or groups of their own (skip).
    """
    if cells is None:
        note = (
            f"No column {', '.join(GROUP_COLUMNS)}: each recording is a group of its own. Where a "
            "recordist made several, scores come out too good. dataset.group_column names a column."
        )
        return Grouping(list(recordings), {}, [note])
    tidied = [tidy(cell) for cell in cells]
    empty = [index for index, group in enumerate(tidied) if not group]
    united, notes = unite_groups(tidied)
    if missing is OnBad.skip and empty:
        notes.append(
            f"Without {column}, so a group of its own: {counted(len(empty), 'recording')}."
        )
        united = [group or recordings[index] for index, group in enumerate(united)]
        return Grouping(united, {}, notes)
    reason = (
        f"has no {column}. Fill it in, or set dataset.group_missing=skip to make it a group of "
        "its own"
    )
    problems = {
        index: Problem(recordings[index], reason, blocking=True, exists=True) for index in empty
    }
    return Grouping(united, problems, notes)


def number_folds(cells: list[str]) -> tuple[list[int], list[str]]:
    """Return folds from 0 for the sorted values of the fold column, and notes.

    Numbers sort as numbers. Empty, -1 and "train" mean: never validated, always trained on.
    """
    values = sorted({cell for cell in cells if cell.lower() not in _ALWAYS_TRAINED}, key=_fold_key)
    numbers = {value: index for index, value in enumerate(values)}
    folds = [numbers.get(cell, NO_FOLD) for cell in cells]
    num_none = folds.count(NO_FOLD)
    notes = [f"No official fold, so always trained on: {counted(num_none, 'recording')}."]
    return folds, notes if num_none else []


def _fold_key(value: str) -> tuple[int, float, str]:
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)
