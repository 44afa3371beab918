"""Texts by number, wherever they are: in memory, in the records of a file, in files of a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chirpid.data.segments import TextTable
from chirpid.data.text.formats import BadTextError, Format, Found, decoded
from chirpid.data.text.index import BLOCK_BYTES, RecordIndex
from chirpid.errors import DataError
from chirpid.types import IntArray


class Texts(Protocol):
    """Texts by number."""

    def __len__(self) -> int: ...

    def find(self, index: int) -> Found: ...

    def all_found(self) -> Iterator[Found | BadTextError]:
        """Yield what each record holds, or why it cannot be used."""

    def keep(self, places: IntArray) -> None:
        """Drop all others."""

    def name(self, index: int) -> str:
        """Return what to call a record in messages."""

    def mark(self) -> str:
        """Return what changes with the texts."""


class TextsInMemory:
    """Texts of a list."""

    def __init__(self, texts: TextTable) -> None:
        self._texts = texts
        self._place_R = np.arange(len(texts), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._place_R)

    def find(self, index: int) -> Found:
        return Found(self._texts[int(self._place_R[index])])

    def all_found(self) -> Iterator[Found | BadTextError]:
        return (self.find(index) for index in range(len(self)))

    def keep(self, places: IntArray) -> None:
        self._place_R = self._place_R[places]

    def name(self, index: int) -> str:
        return f"text {self._place_R[index]}"

    def mark(self) -> str:
        digest = hashlib.sha256()
        for found in (self.find(index) for index in range(len(self))):
            digest.update(f"{len(found.text)} {found.text}".encode())
        return digest.hexdigest()


class TextsInFile:
    """Records of one file, which is read where they lie; each process opens it for itself.

    Several threads may ask at once: reading at a place moves no common one.
    """

    def __init__(self, path: Path, index: RecordIndex, format: Format) -> None:
        self.path, self.format = path, format
        self.begin_R, self.end_R = index.begin_R, index.end_R
        self.number_R = np.arange(1, len(index) + 1, dtype=np.int64)
        self._stamp = _stamp_of(os.stat(path))
        self._file: int | None = None

    def __len__(self) -> int:
        return len(self.begin_R)

    def find(self, index: int) -> Found:
        begin, end = int(self.begin_R[index]), int(self.end_R[index])
        try:
            return self.format.read(self._bytes(begin, end))
        except BadTextError as error:  # it was sound when it was opened
            raise DataError(f"{self.name(index)} {error.reason}. Open it again.") from error

    def all_found(self) -> Iterator[Found | BadTextError]:
        for first, last in self._blocks():
            place = int(self.begin_R[first])
            data = self._bytes(place, int(self.end_R[last - 1]))
            begins, ends = (at_R[first:last] - place for at_R in (self.begin_R, self.end_R))
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                record = data[begin:end]
                try:
                    yield self.format.read(record)
                except BadTextError as error:
                    yield error

    def keep(self, places: IntArray) -> None:
        self.begin_R, self.end_R = self.begin_R[places], self.end_R[places]
        self.number_R = self.number_R[places]

    def name(self, index: int) -> str:
        return f"{self.path.name}, {self.format.record} {self.number_R[index]}"

    def mark(self) -> str:
        kept = hashlib.sha256(self.begin_R.tobytes()).hexdigest()
        return f"{self.path.name} {self._stamp} {kept}"

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _bytes(self, begin: int, end: int) -> bytes:
        if self._file is None:
            self._file = self._open()
        return os.pread(self._file, end - begin, begin)

    def _open(self) -> int:
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"Cannot read {self.path}: {error.strerror or error}.") from error
        if _stamp_of(os.fstat(file)) != self._stamp:
            os.close(file)
            raise DataError(f"{self.path} has changed since it was opened. Open the dataset again.")
        return file

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Yield runs of records that are read together."""
        first = 0
        while first < len(self):
            until = self.begin_R[first] + BLOCK_BYTES
            last = max(first + 1, int(np.searchsorted(self.end_R, until)))
            yield first, last
            first = last

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()


class TextsInFolder:
    """Files below a folder, each of which is a text, labelled by the folder it lies in."""

    def __init__(self, root: Path, names: Sequence[str], labelled: bool) -> None:
        self.root, self.labelled = str(root), labelled
        self._names = TextTable(names)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, index: int) -> Found:
        try:
            return self._find(index)
        except BadTextError as error:
            raise DataError(f"{self.name(index)} {error.reason}.") from error

    def _find(self, index: int) -> Found:
        name = self._names[index]
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                data = file.read()
        except OSError as error:
            raise BadTextError(f"cannot be read: {error.strerror or error}") from error
        text = decoded(data.removeprefix(b"\xef\xbb\xbf"))
        return Found(text, name.split("/")[0] if self.labelled else None)

    def all_found(self) -> Iterator[Found | BadTextError]:
        for index in range(len(self)):
            try:
                yield self._find(index)
            except BadTextError as error:
                yield error

    def keep(self, places: IntArray) -> None:
        self._names = TextTable(self._names[int(place)] for place in places)

    def name(self, index: int) -> str:
        return self._names[index]

    def mark(self) -> str:
        digest = hashlib.sha256()
        for index in range(len(self)):
            found = os.stat(os.path.join(self.root, self._names[index]))
            about = f"{self._names[index]}\0{found.st_size} {found.st_mtime_ns}\n"
            digest.update(about.encode())
        return digest.hexdigest()


def _stamp_of(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns
