"""From a label table to a manifest, with every problem of every row found in one pass."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from chirpid.data.groups import choose_group_column, group_rows, number_folds
from chirpid.data.labels import counted, note_near_labels, parse_secondary, tidy
from chirpid.data.manifest import NO_FOLD, Manifest, Problem, make_manifest
from chirpid.data.places import Finder, leads_outside
from chirpid.data.tables import ROW, Table, apply_filter
from chirpid.errors import DataError
from chirpid.seeds import text_key
from chirpid.types import OnBad


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a table hold what. None: there is none (`group`: found by name)."""

    filename: str = "filename"
    label: str = "label"
    group: str | None = None
    fold: str | None = None
    secondary: str | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    recording: str
    label: str
    group: str | None = None
    fold: str = ""
    secondary: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    """What is collected on the way."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def assemble(
    table: Table,
    columns: Columns,
    *,
    name: str,
    root: Path,
    audio_dir: str = "",
    filter: str | None = None,
    limit: int | None = None,
    group_missing: OnBad = OnBad.stop,
) -> Manifest:
    """Return a manifest of the rows of `table`.

    Rows that name no file inside `root`, or have no label or group, become `problems` of the
    manifest, which `check_recordings` reports together with files that do not decode.

    Args:
        audio_dir: folder below `root` that file names are relative to.
        filter: pandas query of the rows to keep.
        limit: keep at most this many recordings of a class, drawn by a hash of their names.
    Raises:
        DataError: a column is missing, or no row can be used.
        ConfigError: the filter is not a valid query.
    """
    if filter:
        table = apply_filter(table, filter)
    found = _Found(notes=list(table.notes))
    group_column = choose_group_column(table, columns.group)
    rows = _read_rows(table, columns, group_column, Finder(root, audio_dir), found)
    rows = _merge_repeats(rows, found)
    frame = _to_frame(rows, columns, group_column, group_missing, found)
    frame = _limit(frame, limit, found)
    if frame.empty:
        raise DataError(_nothing_left(table, root / audio_dir, found.problems))
    found.notes += note_near_labels(frame["label"])
    _note_links(root, list(frame["recording"]), found)
    return _finish(name, root, frame, found)


def _read_rows(
    table: Table, columns: Columns, group_column: str | None, finder: Finder, found: _Found
) -> list[_Row]:
    """Return the rows whose file exists and whose label is not empty."""
    table.require(columns.filename, "dataset.filename_column")
    table.require(columns.label, "dataset.label_column")
    for column, setting in ((columns.fold, "fold"), (columns.secondary, "secondary")):
        if column is not None:
            table.require(column, f"dataset.{setting}_column")
    rows = []
    for cells in table.frame.to_dict("records"):
        number = int(cells[ROW])
        recording, reason = str(cells[columns.filename]), "names no file"
        if recording:
            recording, missing = finder.find(recording)
            reason = missing or ""
        exists = not reason
        label = tidy(str(cells[columns.label]))
        if not label:
            reason = f"{reason} and has no label" if reason else "has no label"
        if reason:
            what = recording or f"{ROW} {number}"
            where = f" ({ROW} {number})" if number else ""
            found.problems.append(Problem(what, f"{reason}{where}", exists=exists))
            continue
        rows.append(
            _Row(
                number,
                recording,
                label,
                group=None if group_column is None else str(cells[group_column]),
                fold=str(cells[columns.fold]) if columns.fold else "",
                secondary=tuple(parse_secondary(str(cells[columns.secondary])))
                if columns.secondary
                else (),
            )
        )
    return rows


def _merge_repeats(rows: list[_Row], found: _Found) -> list[_Row]:
    """Return one row a recording; rows of one recording that disagree become a problem."""
    same: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        same[row.recording].append(row)
    merged, num_repeats = [], 0
    for recording, repeats in same.items():
        clash = _clash(repeats)
        if clash:
            found.problems.append(Problem(recording, clash, exists=True))
            continue
        num_repeats += len(repeats) - 1
        secondary = tuple(dict.fromkeys(name for row in repeats for name in row.secondary))
        merged.append(replace(repeats[0], secondary=secondary))
    if num_repeats:
        found.notes.append(f"Dropped {counted(num_repeats, 'row')} repeating another row.")
    return merged


def _clash(repeats: list[_Row]) -> str:
    """Say on what the rows of one recording disagree, or ""."""
    for what in ("label", "group", "fold"):
        values = {getattr(row, what): row.number for row in repeats}
        if len(values) > 1:
            listed = ", ".join(f"'{value}' in row {number}" for value, number in values.items())
            return f"has more than one {what}: {listed}. Keep one row a recording" + (
                " and name further species in a dataset.secondary_column" if what == "label" else ""
            )
    return ""


def _to_frame(
    rows: list[_Row],
    columns: Columns,
    group_column: str | None,
    group_missing: OnBad,
    found: _Found,
) -> pd.DataFrame:
    recordings = [row.recording for row in rows]
    cells = None if group_column is None else [row.group or "" for row in rows]
    grouping = group_rows(recordings, cells, group_column, group_missing)
    found.problems += grouping.problems.values()
    found.notes += grouping.notes
    folds = [NO_FOLD] * len(rows)
    if columns.fold:
        folds, notes = number_folds([row.fold for row in rows])
        found.notes += notes
    frame = pd.DataFrame(
        {
            "recording": recordings,
            "label": [row.label for row in rows],
            "group": grouping.groups,
            "fold": folds,
            "secondary": [
                ";".join(name.replace(";", ",") for name in row.secondary) for row in rows
            ],
        }
    )
    return frame.drop(index=list(grouping.problems)).reset_index(drop=True)


def _limit(frame: pd.DataFrame, limit: int | None, found: _Found) -> pd.DataFrame:
    if limit is None or frame.empty:
        return frame
    order = frame["recording"].map(text_key).groupby(frame["label"]).rank(method="first")
    kept = frame[order <= limit].reset_index(drop=True)
    if len(kept) < len(frame):
        found.notes.append(
            f"dataset.limit={limit} keeps {len(kept)} of {counted(len(frame), 'recording')}; "
            "scores are not final."
        )
    return kept


def _nothing_left(table: Table, folder: Path, problems: list[Problem]) -> str:
    num_missing = sum("does not exist" in problem.reason for problem in problems)
    first = "; ".join(str(problem) for problem in problems[:3])
    if num_missing == len(problems):
        return (
            f"None of the {num_missing} recordings in {table.name} is in {folder} "
            f"({first}). Set dataset.root or dataset.audio_dir to where the file names start."
        )
    return f"No row of {table.name} can be used: {first}."


def _note_links(root: Path, recordings: list[str], found: _Found) -> None:
    outside = leads_outside(root, recordings)
    if outside:
        found.notes.append(
            f"Read through links that lead outside of dataset.root: "
            f"{counted(len(outside), 'recording')}, such as {outside[0]}."
        )


def _finish(name: str, root: Path, frame: pd.DataFrame, found: _Found) -> Manifest:
    """Return the manifest, with a note if secondary labels were given but none is a class."""
    manifest = make_manifest(name, root, frame)
    given = {part for text in frame["secondary"] for part in text.split(";") if part}
    unknown = sorted(given - set(manifest.classes))
    if unknown:
        found.notes.append(
            f"Secondary labels that are no class are ignored: {len(unknown)} of {len(given)}, "
            f"such as {', '.join(unknown[:3])}."
        )
    return manifest.with_(notes=tuple(found.notes), problems=tuple(found.problems))
