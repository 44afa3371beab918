"""A dataset that is one folder of recordings per class, with or without a table of groups."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from chirpid.data.assemble import Columns, assemble
from chirpid.data.labels import counted, tidy
from chirpid.data.manifest import Manifest
from chirpid.data.places import AUDIO_SUFFIXES, UNREAD_SUFFIXES, is_hidden
from chirpid.data.sources.csv_table import existing_folder, find_table
from chirpid.data.tables import ROW, Table, read_table
from chirpid.errors import DataError
from chirpid.types import OnBad


def load_folder(
    *,
    name: str,
    root: Path,
    audio_dir: str = "",
    table: str | None = None,
    columns: Columns | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    filter: str | None = None,
    limit: int | None = None,
    group_missing: OnBad = OnBad.stop,
) -> Manifest:
    """Return the manifest of `root/audio_dir/<class>/**/<recording>`.

    Hidden files, side files of macOS and files that are no sound are passed over. Sound in formats
    that are not read (M4A, WMA) is kept, so that the check names it and how to convert it.

    Args:
        table: optional table with a row a recording, for groups, folds and filters. Its file names
            are relative to `root/audio_dir` or to `root`, or plain names if those are unique.
    Raises:
        DataError: no such folder, or no class folder with recordings in it.
    """
    columns = columns or Columns()
    root = existing_folder(root)
    base = existing_folder(root / audio_dir, "dataset.audio_dir") if audio_dir else root
    names, notes = _find_recordings(base)
    frame = pd.DataFrame(
        {
            columns.filename: names,
            columns.label: [tidy(recording.split("/")[0]) for recording in names],
            ROW: 0,  # a folder has no rows to point at
        },
        dtype=object,
    )
    if table is not None:
        read = read_table(find_table(root, table), delimiter=delimiter, encoding=encoding)
        frame, more = _join(frame, read, columns, audio_dir)
        notes += [*read.notes, *more]
    return assemble(
        Table(f"the folder {base}", frame, tuple(notes)),
        columns,
        name=name,
        root=root,
        audio_dir=audio_dir,
        filter=filter,
        limit=limit,
        group_missing=group_missing,
    )


def _find_recordings(base: Path) -> tuple[list[str], list[str]]:
    """Return the recordings below class folders, as sorted posix paths, and notes."""
    names: list[str] = []
    loose: list[str] = []
    for place in _walk(base):
        if Path(place).suffix.lower() in AUDIO_SUFFIXES | UNREAD_SUFFIXES:
            (names if "/" in place else loose).append(place)
    if not names:
        raise DataError(_no_classes(base, loose))
    notes = []
    if loose:
        notes.append(
            f"In no class folder, so not used: {counted(len(loose), 'recording')} directly in "
            f"{base}, such as {loose[0]}."
        )
    empty = sorted(
        entry.name
        for entry in os.scandir(base)
        if entry.is_dir() and not is_hidden(entry.name)
        and not any(name.startswith(f"{entry.name}/") for name in names)
    )  # fmt: skip
    if empty:
        notes.append(f"Folders without recordings are no classes: {', '.join(empty[:5])}.")
    return sorted(names), notes


def _walk(base: Path) -> Iterator[str]:
    """Yield files below `base` as posix paths; follow links to folders, but never in a ring."""
    seen = set()
    for folder, subfolders, files in os.walk(base, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        below = Path(folder).relative_to(base)
        yield from ((below / name).as_posix() for name in sorted(files) if not is_hidden(name))


def _no_classes(base: Path, loose: list[str]) -> str:
    wanted = f"dataset=folder needs one folder per class: {base}/<class>/<recording>."
    if loose:
        return (
            f"{wanted} Here {counted(len(loose), 'recording')} lie directly in {base}, such as "
            f"{loose[0]}. Sort them into folders, or use dataset=csv with a label table."
        )
    return f"{wanted} There is no recording in any folder below it."


def _join(
    frame: pd.DataFrame, table: Table, columns: Columns, audio_dir: str
) -> tuple[pd.DataFrame, list[str]]:
    """Return `frame` with the further columns of `table`, "" where it has no row, and notes."""
    table.require(columns.filename, "dataset.filename_column")
    rows = table.frame.to_dict("records")
    by_name: dict[str, int] = {}
    for index, cells in enumerate(rows):
        place = os.path.normpath(str(cells[columns.filename]).replace("\\", "/"))
        by_name.setdefault(place, index)
    places = [str(place) for place in frame[columns.filename]]
    plain = Counter(os.path.basename(place) for place in places)
    matched = [_match(place, by_name, audio_dir, plain) for place in places]
    joined = frame.copy()
    for column in table.columns:
        if column not in frame:
            texts = [str(rows[at][column]) if at is not None else "" for at in matched]
            joined[column] = pd.Series(texts, dtype=object)
    num_missing = matched.count(None)
    note = f"Not in {table.name}: {counted(num_missing, 'recording')} of the folder."
    return joined, [note] if num_missing else []


def _match(place: str, by_name: dict[str, int], audio_dir: str, plain: Counter[str]) -> int | None:
    """Return the row that names the recording: by its path, else by its file name if unique."""
    names = [place, os.path.normpath(f"{audio_dir or '.'}/{place}")]
    if plain[os.path.basename(place)] == 1:
        names.append(os.path.basename(place))
    return next((by_name[name] for name in names if name in by_name), None)
