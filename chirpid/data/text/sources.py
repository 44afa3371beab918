"""From what people call their texts to texts by number, each of which was looked at."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chirpid.data.general.bad_items import BadItem
from chirpid.data.general.class_numbers import in_order
from chirpid.data.general.file_names import DatasetNotFoundError, find_files
from chirpid.data.labels import counted
from chirpid.data.segments import TextTable
from chirpid.data.tables import find_delimiter
from chirpid.data.text.formats import (
    BadTextError,
    CsvFormat,
    Format,
    JsonFormat,
    LineFormat,
    decoded,
    is_blank,
)
from chirpid.data.text.index import RecordIndex, index_records
from chirpid.data.text.records import Texts, TextsInFile, TextsInFolder, TextsInMemory
from chirpid.errors import ConfigError, DataError, did_you_mean

TABLE_SUFFIXES = (".csv", ".tsv")
JSON_SUFFIXES = (".jsonl", ".ndjson")

Source = str | os.PathLike[str] | Iterable[str]


@dataclass(slots=True)
class Opened:
    """Texts that can be used, and what became of the others."""

    texts: Texts
    num_all: int
    """Texts that were looked at and are not blank."""
    labels: list[Any] | None = None
    """One for each text that can be used."""
    classes: tuple[str, ...] | None = None
    """Names that folders give the classes; None where only the labels tell."""
    bad: list[BadItem] = field(default_factory=list)
    num_blank: int = 0
    characters: set[str] = field(default_factory=set)
    """All that occur, if they were asked for."""


def open_texts(
    source: Source, labels: Sequence[Any] | str | None, text_column: str, *, characters: bool
) -> Opened:
    """Return the texts of a source; each was read once.

    Args:
        labels: one for each text, blank ones too; or the name of a column of a table.
        characters: collect all characters.
    Raises:
        DatasetNotFoundError: no such file or folder, or no text in it.
        DataError: another number of labels, or a file that is no text.
        ConfigError: a column is named where there are none.
    """
    column = labels if isinstance(labels, str) else None
    texts = _texts_of(source, text_column, column)
    given = None
    if labels is not None and column is None:
        given = list(labels.tolist() if hasattr(labels, "tolist") else labels)
        if len(given) != len(texts):
            raise DataError(
                f"There are {counted(len(texts), 'text')}, blank ones among them, and {len(given)} "
                "labels. Give one each."
            )
    opened = _look_at(texts, given, characters)
    if not len(opened.texts) and not opened.bad:
        where = str(source) if isinstance(source, str | os.PathLike) else "the list"
        raise DatasetNotFoundError("text", where, "all lines are blank", "Fill it, or drop it")
    return opened


def _texts_of(source: Source, text_column: str, label_column: str | None) -> Texts:
    if not isinstance(source, str | os.PathLike):
        return _no_column(TextsInMemory(_table_of(source)), "a list", label_column)
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        found = find_files(path, (".txt",), "texts")
        inside = ["/" in name for name in found.names]
        if any(inside) and not all(inside):
            loose = found.names[inside.index(False)]
            raise DataError(
                f"Some texts of {path} lie in no class folder, such as {loose}, and others do. "
                "Sort all into folders, or none."
            )
        return _no_column(TextsInFolder(path, found.names, all(inside)), "a folder", label_column)
    if not path.is_file():
        near = next((parent for parent in path.parents if parent.is_dir()), path)
        raise DatasetNotFoundError(
            "text", str(path), f"no such file; there is {near}", "A list of texts is given as such"
        )
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _table_file(path, text_column, label_column)
    index = index_records(path)
    if path.suffix.lower() in JSON_SUFFIXES:
        return _without_blank(path, index, JsonFormat(text_column, label_column))
    return _no_column(TextsInFile(path, index, LineFormat()), "a file of lines", label_column)


def _no_column(texts: Texts, what: str, label_column: str | None) -> Texts:
    if label_column is not None:
        raise ConfigError(
            f"labels='{label_column}' names a column, and {what} has none. Give one label a text."
        )
    return texts


def _table_of(texts: Iterable[str]) -> TextTable:
    if isinstance(texts, Mapping) or hasattr(texts, "columns"):
        raise DataError(
            f"A {type(texts).__name__} is no list of texts. Give one column of it, as "
            "list(table['text'])."
        )
    given = list(texts)
    for place, text in enumerate(given):
        if not isinstance(text, str):
            raise DataError(f"Text {place} of the list is a {type(text).__name__}: {text!r:.60}.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"Text {place} of the list holds half a character at {error.start}, as decoding "
                "with surrogateescape leaves it. Decode it as what it is."
            ) from error
    if not given:
        raise DatasetNotFoundError("text", "the list", "it is empty", "Give one text or more")
    return TextTable(given)


def _table_file(path: Path, text_column: str, label_column: str | None) -> Texts:
    index = index_records(path, quoted=True)
    rows = np.flatnonzero(~index.is_blank_R)
    if not len(rows):
        raise DatasetNotFoundError("text", str(path), "it is blank", "It needs a header and rows")
    with open(path, "rb") as file:
        file.seek(int(index.begin_R[rows[0]]))
        header = file.read(int(index.end_R[rows[0]] - index.begin_R[rows[0]]))
    try:
        text = decoded(header)
        delimiter = find_delimiter(text)
        columns = [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter))]
    except (BadTextError, csv.Error) as error:
        raise DataError(f"The header of {path} cannot be read: it {error}.") from error
    label = None if label_column is None else _place_of(path, columns, label_column)
    format = CsvFormat(columns, delimiter, _place_of(path, columns, text_column), label)
    texts = _without_blank(path, index, format)
    texts.keep(np.arange(1, len(texts)))
    return texts


def _place_of(path: Path, columns: list[str], column: str) -> int:
    if column not in columns:
        raise DataError(
            f"{path.name} has no column '{column}'.{did_you_mean(column, columns)} It has: "
            f"{', '.join(columns)}."
        )
    return columns.index(column)


def _without_blank(path: Path, index: RecordIndex, format: Format) -> TextsInFile:
    """Return the records; a blank line is none where lines are rows or objects."""
    texts = TextsInFile(path, index, format)
    texts.keep(np.flatnonzero(~index.is_blank_R))
    return texts


def _look_at(texts: Texts, given: list[Any] | None, characters: bool) -> Opened:
    """Read every text once, and keep those that can be used."""
    opened = Opened(texts, len(texts))
    usable_R = np.zeros(len(texts), dtype=np.bool_)
    labels: list[Any] = []
    for place, found in enumerate(texts.all_found()):
        if isinstance(found, BadTextError):
            opened.bad.append(BadItem(texts.name(place), found.reason))
        elif is_blank(found.text):
            opened.num_blank += 1
        else:
            usable_R[place] = True
            if found.label is not None:
                labels.append(found.label)
            if characters:
                opened.characters.update(found.text)
    opened.num_all -= opened.num_blank
    kept = np.flatnonzero(usable_R)
    texts.keep(kept)
    opened.labels = labels or None
    if given is not None:
        opened.labels = [given[place] for place in kept]
    elif opened.labels is not None and isinstance(texts, TextsInFolder):
        opened.classes = in_order(opened.labels)
    return opened
