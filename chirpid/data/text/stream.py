"""Texts of files in the order they lie there, without an index: for what is larger than memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from chirpid.data.collate.tokens import encoded
from chirpid.data.general.bad_items import BadItem, on_bad_of
from chirpid.data.general.class_numbers import number_labels
from chirpid.data.general.file_names import DatasetNotFoundError
from chirpid.data.text.formats import (
    BadTextError,
    Format,
    Found,
    JsonFormat,
    LineFormat,
    is_blank,
    is_blank_line,
)
from chirpid.data.text.index import first_byte
from chirpid.data.text.rule import Sample, TextRule, pad_id_of
from chirpid.data.text.sources import JSON_SUFFIXES, TABLE_SUFFIXES
from chirpid.errors import ConfigError, DataError
from chirpid.types import OnBad

KEPT_BAD = 1000
"""Bad texts of which the reason is kept; `num_bad` counts all."""


@dataclass(slots=True)
class Place:
    """Where a stream is."""

    file: int = 0
    """Number of the file."""
    byte: int = -1
    """Where the next line begins; -1 is the begin of the text."""
    line: int = 0
    """Lines of this file before it."""
    text: int = 0
    """Texts of all files before it; blank lines are none."""
    window: int = 0
    """The next sample of that text."""


class TextStream(IterableDataset[Sample]):
    """The samples of `TextDataset`, of lines of files, read once from begin to end.

    Text number i goes to part i modulo the number of parts, and every worker of every rank is one:
    none comes twice, none is lost, and ranks differ by at most one text. Each part reads all files,
    and tokenises what is its own.

    `state_dict` says where an iteration is, and one that begins after `load_state_dict` goes on
    there with the same samples. The state of a stream that is one part suits any number of them.

    Args:
        source: a file, or several, in their order: lines, or JSON if they end in `.jsonl`.
        text_column, labels: keys of JSON lines. Labels need `classes` unless they are numbers.
        rank, num_ranks: None takes those of torch.distributed, or of torchrun.
        tokenizer, max_length, stride, padding, pad_id, on_bad: as for `TextDataset`. A stream has
            not seen its texts, so there is no tokenizer to fall back to.
    Raises:
        DatasetNotFoundError: no such file.
        DataError: a file is no text; later, a text cannot be used and `on_bad` is stop.
        ConfigError: a setting has a value that it does not take.
    """

    splits_itself = True
    """Loaders may give it to several workers as it is."""

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        tokenizer: Any,
        max_length: int = 512,
        stride: int | None = None,
        padding: str | None = "max",
        pad_id: int | None = None,
        text_column: str = "text",
        labels: str | None = None,
        classes: Sequence[str] | None = None,
        on_bad: OnBad | str = OnBad.stop,
        rank: int | None = None,
        num_ranks: int | None = None,
    ) -> None:
        self.paths = _paths_of(source)
        self._format = _format_of(self.paths, text_column, labels)
        self.tokenizer, self.classes = tokenizer, classes
        self._numbers = {name: number for number, name in enumerate(classes or ())}
        self.rule = TextRule(
            max_length=max_length, stride=stride, padding=padding,
            pad_id=pad_id_of(tokenizer, pad_id, padding),
        )  # fmt: skip
        self.rank, self.num_ranks = _ranks_of(rank, num_ranks)
        self._skips = on_bad_of(on_bad) is OnBad.skip
        self.num_bad, self.num_cut = 0, 0
        self.bad: list[BadItem] = []
        self._place, self._part = Place(), (0, 1)
        self._resumes = False

    def __iter__(self) -> Iterator[Sample]:
        part = self._own_part()
        if not self._resumes:
            self._place = Place()
        elif self._part not in ((0, 1), part):
            raise ConfigError(
                "The state is of part {} of {}, and this is part {} of {}. Use as many workers and "
                "ranks as before, or take states of a stream that is read by one process.".format(
                    *self._part, *part
                )
            )
        self._part, self._resumes = part, False
        return self._samples(self._place)

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration of this process is; with torch's workers, each has its own."""
        return {"version": 1, **asdict(self._place), "part": self._part[0], "parts": self._part[1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration begin where that of `state` was."""
        names = ("file", "byte", "line", "text", "window")
        try:
            self._place = Place(**{name: int(state[name]) for name in names})
            self._part = (int(state["part"]), int(state["parts"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"This is no state of a TextStream: {state!r:.80}.") from error
        self._resumes = True

    def _samples(self, place: Place) -> Iterator[Sample]:
        number, parts = self._part
        while place.file < len(self.paths):
            for data, end in self._lines(place):
                is_text = not is_blank_line(data)
                if is_text and place.text % parts == number:
                    yield from self._of_line(data.removesuffix(b"\n"), place)
                place.text += is_text
                place.byte, place.line, place.window = end, place.line + 1, 0
            place.file, place.byte, place.line = place.file + 1, -1, 0
        if self._place is place:  # no other iteration has begun
            self._place = Place()

    def _lines(self, place: Place) -> Iterator[tuple[bytes, int]]:
        """Yield the lines from `place` on, each with where the next one begins."""
        path = self.paths[place.file]
        if place.byte < 0:
            place.byte = first_byte(path)
        end = place.byte
        with open(path, "rb") as file:
            file.seek(place.byte)
            for data in file:
                end += len(data)
                yield data, end

    def _of_line(self, data: bytes, place: Place) -> Iterator[Sample]:
        """Yield the samples of a line from `place.window` on."""
        try:
            found = self._format.read(data)
        except BadTextError as error:
            self._leave_out(place, error.reason)
            return
        if is_blank(found.text):
            return
        (ids,) = encoded(self.tokenizer, [found.text])
        num_windows = int(self.rule.num_windows(np.array([len(ids)]))[0])
        if place.window == 0:
            self.num_cut += self.rule.stride is None and len(ids) > self.rule.max_length
        label = self._label_of(found)
        while place.window < num_windows:
            place.window += 1  # before it is handed out: a state asked for then is behind it
            yield self.rule.sample(self.rule.window(ids, place.window - 1), label)

    def _label_of(self, found: Found) -> int | None:
        if found.label is None:
            return None
        if isinstance(found.label, str) and found.label in self._numbers:
            return self._numbers[found.label]
        numbered = number_labels([found.label], self.classes)
        if numbered.classes and self.classes is None:
            raise ConfigError(
                f"The label '{found.label}' is a text, and a stream has not seen them all. Give "
                "classes, their names in the order of their numbers."
            )
        return int(numbered.ids[0])

    def _leave_out(self, place: Place, reason: str) -> None:
        name = f"{self.paths[place.file].name}, line {place.line + 1}"
        if not self._skips:
            raise DataError(f"{name} {reason}. Set on_bad='skip' to go on without such texts.")
        self.num_bad += 1
        if len(self.bad) < KEPT_BAD:
            self.bad.append(BadItem(name, reason))

    def _own_part(self) -> tuple[int, int]:
        worker = get_worker_info()
        if worker is None:
            return self.rank, self.num_ranks
        # So a rank has the same texts with any number of workers, and at most one more than others.
        return worker.id * self.num_ranks + self.rank, worker.num_workers * self.num_ranks


def _paths_of(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    given = [source] if isinstance(source, str | os.PathLike) else list(source)
    paths = [Path(path).expanduser().absolute() for path in given]
    if not paths:
        raise DatasetNotFoundError("text", "the list", "it names no file", "Give one or more")
    for path in paths:
        if not path.is_file():
            raise DatasetNotFoundError("text", str(path), "no such file", "Give the path of a file")
        first_byte(path)
    return paths


def _format_of(paths: list[Path], text_column: str, labels: str | None) -> Format:
    suffixes = {path.suffix.lower() for path in paths}
    if suffixes & set(TABLE_SUFFIXES):
        raise ConfigError(
            "A table cannot be streamed: its rows may be several lines. Use TextDataset, which "
            "reads them where they lie, or write JSON lines."
        )
    if suffixes <= set(JSON_SUFFIXES):
        return JsonFormat(text_column, labels)
    if suffixes & set(JSON_SUFFIXES):
        raise ConfigError("Some files are JSON lines and others are not. Stream one kind.")
    if labels is not None:
        raise ConfigError(f"labels='{labels}' needs files that end in .jsonl.")
    return LineFormat()


def _ranks_of(rank: int | None, num_ranks: int | None) -> tuple[int, int]:
    """Return which rank this is, of how many; said now, since workers cannot ask."""
    if (rank is None) != (num_ranks is None):
        raise ConfigError("Give both rank and num_ranks, or neither.")
    if rank is None or num_ranks is None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < num_ranks:
        raise ConfigError(f"rank={rank} is not allowed: there are ranks 0 to {num_ranks - 1}.")
    return rank, num_ranks
