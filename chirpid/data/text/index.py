"""Where each record of a text file begins and ends, found without keeping the file in memory."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chirpid.errors import DataError
from chirpid.types import IntArray

BLOCK_BYTES = 1 << 20
_NEWLINE, _QUOTE, _SPACE = 10, 34, 32
_NOT_UTF8 = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_NOT_TEXT = (
    (b"\x1f\x8b", "compressed with gzip. Unpack it first"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet. Unpack it, or save it as CSV"),
    (b"%PDF", "a PDF. Save it as text"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd. Unpack it first"),
    (b"PAR1", "Parquet. Save it as CSV or JSON lines"),
)


@dataclass(frozen=True, slots=True, eq=False)
class RecordIndex:
    """The records (R) of a file, in bytes."""

    begin_R: IntArray
    end_R: IntArray
    """Without the end of the line."""
    is_blank_R: npt.NDArray[np.bool_]
    """Whether there is nothing but white space and control characters."""

    def __len__(self) -> int:
        return len(self.begin_R)


def index_records(path: Path, *, quoted: bool = False) -> RecordIndex:
    """Return the records of a text file: its lines.

    Args:
        quoted: a line may end within quotes without ending its record, as in CSV.
    Raises:
        DataError: the file cannot be read, or is in another encoding or format.
    """
    begin = first_byte(path)
    ends: list[IntArray] = []
    seen: list[IntArray] = []
    num_visible = num_quotes = 0
    place = begin
    with open(path, "rb") as file:
        file.seek(begin)
        while data := file.read(BLOCK_BYTES):
            block = np.frombuffer(data, dtype=np.uint8)
            at = np.flatnonzero(block == _NEWLINE)
            if quoted:
                quotes = num_quotes + np.cumsum(block == _QUOTE)
                at, num_quotes = at[quotes[at] % 2 == 0], int(quotes[-1])
            visible = num_visible + np.cumsum(block > _SPACE)
            ends.append(at + place)
            seen.append(visible[at])
            num_visible, place = int(visible[-1]), place + len(block)
    last = ends[-1][-1] + 1 if ends and len(ends[-1]) else None
    if last != place:  # the last line does not end
        ends.append(np.array([place]))
        seen.append(np.array([num_visible]))
    end_R = np.concatenate(ends).astype(np.int64)
    begin_R = np.concatenate([[begin], end_R[:-1] + 1]).astype(np.int64)
    return RecordIndex(begin_R, end_R, np.diff(np.concatenate(seen), prepend=0) == 0)


def first_byte(path: Path) -> int:
    """Return where the text of a file begins: behind the mark of UTF-8, if there is one.

    Raises:
        DataError: the file cannot be read, is empty, or is in another encoding or format.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    if not head:
        raise DataError(f"{path} is empty (0 bytes). Fetch it again, or drop it.")
    for mark, what in _NOT_TEXT:
        if head.startswith(mark):
            raise DataError(f"{path} is not text but {what}.")
    for mark, encoding in _NOT_UTF8:
        if head.startswith(mark):
            raise DataError(
                f"{path} is {encoding}, and UTF-8 is read. Convert it: iconv -f {encoding} -t UTF-8"
            )
    return len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
