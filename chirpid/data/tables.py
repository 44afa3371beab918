"""Read label tables as people really write them."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from chirpid.errors import ConfigError, DataError, did_you_mean

DELIMITERS = (",", ";", "\t", "|")
ROW = "table row"
"""Name of the column that holds where a row stood: the first row below the header is row 2."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_TABLES = (
    (b"PK\x03\x04", "a spreadsheet or another ZIP file. Save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet. Save the sheet as CSV"),
    (b"\x1f\x8b", "compressed. Unpack it first"),
    (b"%PDF", "a PDF"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A label table. All cells are text without white space around; `ROW` says where each stood."""

    name: str
    """How messages call it."""
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns that the file has."""
        return [column for column in self.frame.columns if column != ROW]

    def require(self, column: str, setting: str) -> None:
        """Raise DataError, with the columns there are, unless `column` is one of them."""
        if column in self.frame.columns:
            return
        lower = {known.lower(): known for known in self.columns}
        close = lower.get(column.lower())
        hint = f" Did you mean '{close}'?" if close else did_you_mean(column, self.columns)
        raise DataError(
            f"{self.name} has no column '{column}' ({setting}).{hint} "
            f"It has: {', '.join(self.columns)}."
        )


def read_table(path: Path, *, delimiter: str | None = None, encoding: str | None = None) -> Table:
    """Return the table in `path`.

    Args:
        delimiter: None finds comma, semicolon, tab or bar from the header.
        encoding: None finds UTF-8, UTF-16 and UTF-32, else takes Windows-1252, which reads
            Latin-1 text as well.
    Raises:
        DataError: missing, empty, header only, not text, ragged, or with a column named twice.
    """
    text, notes = _decode(path, encoding)
    rows = _parse(path, text, delimiter or find_delimiter(text))
    if not rows:
        raise DataError(f"{path.name} is empty. It needs a header and one row a recording.")
    header = [cell.strip() for cell in rows[0][1]]
    if len(rows) == 1:
        raise DataError(
            f"{path.name} has a header but no rows. Add one row a recording "
            f"(columns: {', '.join(header)})."
        )
    _refuse_repeated(path, header)
    frame = pd.DataFrame(_square(path, header, rows[1:]), columns=[*header, ROW], dtype=object)
    return Table(path.name, frame, notes)


def find_delimiter(text: str) -> str:
    """Return the delimiter that cuts the header of `text` into the most columns."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(DELIMITERS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def apply_filter(table: Table, query: str) -> Table:
    """Return the rows for which the pandas query holds; all-number columns compare as numbers.

    Raises:
        ConfigError: the query is not one that pandas understands, or no yes-or-no question.
        DataError: no row is left.
    """
    typed = table.frame.drop(columns=ROW, errors="ignore").apply(_as_numbers)
    mask = _evaluate(typed, query, table)
    kept = table.frame[mask].reset_index(drop=True)
    if kept.empty:
        raise DataError(
            f"dataset.filter={query!r} keeps no row of {table.name}.{_holds(typed, query)}"
        )
    return Table(table.name, kept, table.notes)


def _decode(path: Path, encoding: str | None) -> tuple[str, tuple[str, ...]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read the table {path}: {error.strerror or error}.") from error
    if not data:
        raise DataError(
            f"{path.name} is empty (0 bytes). It needs a header and one row a recording."
        )
    for mark, what in _NOT_TABLES:
        if data.startswith(mark):
            raise DataError(f"{path.name} is not a text table but {what}.")
    notes: tuple[str, ...] = ()
    if encoding is None:
        encoding = find_encoding(data)
        if encoding in ("cp1252", "latin-1"):
            notes = (f"{path.name} is not UTF-8; it was read as {encoding} (dataset.encoding).",)
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        raise DataError(
            f"{path.name} cannot be read with dataset.encoding={encoding}: {error}."
        ) from error
    if "\0" in text:
        raise DataError(f"{path.name} is not a text table: it holds zero bytes.")
    return text, notes


def find_encoding(data: bytes) -> str:
    """Return the name of the encoding that `data` seem to be in."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    zeros = data[:1024].count(0)
    if zeros > 0.3 * len(data[:1024]):  # UTF-16 without a mark: every second byte of ASCII is 0
        return "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    for name in ("utf-8", "cp1252"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def _parse(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the rows that hold anything, each with its number (the header is row 1)."""
    if len(delimiter) != 1:
        raise ConfigError(f"dataset.delimiter={delimiter!r} is not allowed: one character.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        numbered = enumerate(reader, start=1)
        return [(row, cells) for row, cells in numbered if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {reader.line_num}: {error}. Check the quotes there."
        ) from error


def _refuse_repeated(path: Path, header: list[str]) -> None:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise DataError(f"{path.name} has more than one column named {', '.join(twice)}.")


def _square(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]]
) -> list[list[str | int]]:
    """Return rows as wide as the header, short ones filled up, each with its number at the end."""
    width = len(header)
    wide = [row for row, cells in rows if any(cell.strip() for cell in cells[width:])]
    if wide:
        some = ", ".join(map(str, wide[:5])) + (", ..." if len(wide) > 5 else "")
        raise DataError(
            f"{path.name} has {width} columns but more cells in row {some}. Quote cells that hold "
            "the delimiter, or set dataset.delimiter."
        )
    square: list[list[str | int]] = []
    for row, cells in rows:
        padded = [cell.strip() for cell in cells[:width]] + [""] * (width - len(cells))
        square.append([*padded, row])
    return square


def _as_numbers(column: pd.Series[str]) -> pd.Series:
    """Return the column as numbers if all its cells are; codes such as 007 stay text."""
    filled = column[column != ""]
    if filled.empty or filled.str.match(r"[+-]?0\d").any():
        return column
    numbers = pd.to_numeric(column.where(column != "", "nan"), errors="coerce")
    return numbers if numbers[column != ""].notna().all() else column


def _evaluate(typed: pd.DataFrame, query: str, table: Table) -> pd.Series[bool]:
    try:
        mask = typed.eval(query, engine="python")
    except NameError as error:  # pandas' UndefinedVariableError
        name = str(error).split("'")[1] if "'" in str(error) else query
        raise ConfigError(
            f"dataset.filter={query!r} uses '{name}', which is no column of {table.name}."
            f"{did_you_mean(name, table.columns)} It has: {', '.join(table.columns)}."
        ) from error
    except (
        SyntaxError,
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
        NotImplementedError,
    ) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"dataset.filter={query!r} cannot be evaluated: {said[0]}. "
            "Write it like \"core == 1 and quality in ['A', 'B']\"."
        ) from error
    if not isinstance(mask, pd.Series) or mask.dtype != bool:
        raise ConfigError(
            f"dataset.filter={query!r} is no yes-or-no question about each row; "
            "compare with ==, in or <."
        )
    return mask


def _holds(typed: pd.DataFrame, query: str) -> str:
    """Say what the columns named in `query` hold, since the usual slip is 1 against '1'."""
    said = []
    for column in typed.columns:
        if str(column) in query:
            kind = "text" if typed[column].dtype == object else "numbers"
            some = ", ".join(str(value) for value in typed[column].drop_duplicates()[:4])
            said.append(f" Column '{column}' holds {kind}: {some}, ...")
    return "".join(said[:3])
