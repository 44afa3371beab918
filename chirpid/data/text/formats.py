"""How the bytes of a record become a text: a line, a JSON object, a row of a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from chirpid.errors import DataError

_BLANK = bytes(range(33))
_BLANK_TEXT = _BLANK.decode()


class BadTextError(DataError):
    """One text cannot be used. `reason` says why, without saying which."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Found(NamedTuple):
    """What a record holds."""

    text: str
    label: Any = None


class Format(Protocol):
    """How the bytes of a record are read."""

    record: str
    """What messages call one."""

    def read(self, data: bytes) -> Found:
        """Return what the bytes hold.

        Raises:
            BadTextError: they hold no text.
        """


class LineFormat:
    """The line is the text."""

    record = "line"

    def read(self, data: bytes) -> Found:
        return Found(decoded(data))


class JsonFormat:
    """The line is a JSON object with the text and the label under these keys."""

    record = "line"

    def __init__(self, text_key: str, label_key: str | None) -> None:
        self.text_key, self.label_key = text_key, label_key

    def read(self, data: bytes) -> Found:
        try:
            record = json.loads(decoded(data))
        except (ValueError, RecursionError) as error:
            if isinstance(error, BadTextError):
                raise
            raise BadTextError(f"is no JSON: {error}") from error
        if not isinstance(record, dict):
            raise BadTextError(f"is no JSON object but a {type(record).__name__}")
        text = self._value(record, self.text_key)
        if not isinstance(text, str):
            raise BadTextError(f"has no text in '{self.text_key}' but {text!r}")
        label = None if self.label_key is None else self._value(record, self.label_key)
        return Found(text, label)

    def _value(self, record: dict[str, Any], key: str) -> Any:
        if key not in record:
            raise BadTextError(f"has no key '{key}'. It has: {', '.join(map(str, record))}")
        if record[key] is None:
            raise BadTextError(f"has null in '{key}'")
        return record[key]


class CsvFormat:
    """The record is a row of a table."""

    record = "row"

    def __init__(self, columns: Sequence[str], delimiter: str, text: int, label: int | None):
        self.num_columns, self.delimiter = len(columns), delimiter
        self.text, self.label = text, label

    def read(self, data: bytes) -> Found:
        lines = io.StringIO(decoded(data), newline="")
        try:
            cells, *others = csv.reader(lines, delimiter=self.delimiter, strict=True)
        except csv.Error as error:
            todo = "Raise csv.field_size_limit" if "limit" in str(error) else "Check its quotes"
            raise BadTextError(f"is no row: {error}. {todo}") from error
        if others:
            raise BadTextError(
                f"has a single quote mark in a cell, so that {len(others)} more rows run into it. "
                'Put such cells in quotes, and double the mark: "5"" pipe"'
            )
        if len(cells) != self.num_columns:
            raise BadTextError(
                f"has {len(cells)} cells, and the header has {self.num_columns}. Check its quotes"
            )
        if self.label is None:
            return Found(cells[self.text])
        label = cells[self.label].strip()
        if not label:
            raise BadTextError("has no label")
        return Found(cells[self.text], label)


def decoded(data: bytes) -> str:
    """Return the text of UTF-8 bytes, without the end of a line.

    Raises:
        BadTextError: they are not UTF-8, or hold zero bytes, as no text does.
    """
    if b"\0" in data:
        raise BadTextError("holds zero bytes, as no text does")
    try:
        return data.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        wrong = data[error.start : error.start + 4].hex(" ")
        raise BadTextError(
            f"is not UTF-8 from byte {error.start + 1} on ({wrong}). Convert it, or mend it"
        ) from error


def is_blank(text: str) -> bool:
    """Return whether a text has nothing above the space, as a blank line has."""
    return not text.strip(_BLANK_TEXT)


def is_blank_line(data: bytes) -> bool:
    """Return whether a line is blank, before anything is made of it."""
    return not data.strip(_BLANK)
