"""Texts as a dataset of token ids."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from chirpid.data.collate.tokens import encoded
from chirpid.data.general.bad_items import BadItem, on_bad_of, stop_or_note
from chirpid.data.general.class_numbers import number_labels
from chirpid.data.general.columns import Columns, Layout
from chirpid.data.labels import counted
from chirpid.data.tensors.modes import in_mode
from chirpid.data.text.characters import CharacterTokenizer
from chirpid.data.text.rule import (
    Sample,
    TextRule,
    is_of_tokenizers,
    mark_of,
    pad_id_of,
)
from chirpid.data.text.sources import Opened, Source, open_texts
from chirpid.types import IntArray, OnBad

NUM_TRIED = 256
"""Texts that are tokenised when a dataset is opened, to tell how many are too long."""
_TOGETHER = 512


class TextDataset:
    """Texts of a list, a file or a folder, as dicts of token ids.

    A sample has `input_ids`, `attention_mask` (both int64 [max_length]), `length`, the tokens that
    are no padding, and `label` where there are any. With padding=None there is no mask, and
    `input_ids` is as long as the text; batches of those are made by a collator that pads.

    Args:
        source: texts one by one; a file with a text in each line; a `.csv`, `.tsv` or `.jsonl`
            file; a folder of `.txt` files, where the first folder below it is the label. Files are
            read where they lie, and are UTF-8. Blank texts are left out and counted.
        labels: one for each text, or the name of a column.
        classes: names in the order of their numbers. Give a validation set those of the training.
        text_column: column or key of the text.
        tokenizer: of tokenizers or transformers, or what has `encode`; None gives each character
            that occurs an id (`CharacterTokenizer`). Give a validation set that of the training.
        max_length: the most tokens of a sample; what is longer is cut, or becomes several.
        stride: tokens from the begin of one window of a long text to that of the next; None keeps
            the first window alone.
        padding: "max", or None.
        pad_id: None takes that of the tokenizer.
        on_bad: "stop" names all texts that cannot be used; "skip" leaves them out and notes it.
    Raises:
        DatasetNotFoundError: nothing is there.
        DataError: texts cannot be used and `on_bad` is stop; labels and texts do not match.
        ConfigError: a setting has a value that it does not take.
    """

    layout: Layout
    """There only if samples are padded: else this is no `BatchReader`."""

    def __init__(
        self,
        source: Source,
        *,
        labels: Sequence[Any] | str | None = None,
        classes: Sequence[str] | None = None,
        text_column: str = "text",
        tokenizer: Any = None,
        max_length: int = 512,
        stride: int | None = None,
        padding: str | None = "max",
        pad_id: int | None = None,
        on_bad: OnBad | str = OnBad.stop,
    ) -> None:
        on_bad = on_bad_of(on_bad)
        rule = TextRule(max_length=max_length, stride=stride, padding=padding)
        opened = open_texts(source, labels, text_column, characters=tokenizer is None)
        self.bad: list[BadItem] = opened.bad
        self.num_blank = opened.num_blank
        self.notes = stop_or_note(opened.bad, opened.num_all, "text", on_bad)
        self._take(opened, classes)
        self.tokenizer = CharacterTokenizer(opened.characters) if tokenizer is None else tokenizer
        self.rule = TextRule(
            max_length=max_length, stride=stride, padding=padding,
            pad_id=pad_id_of(self.tokenizer, pad_id, rule.padding),
        )  # fmt: skip
        self.thread_safe = is_of_tokenizers(tokenizer)
        layout = self.rule.layout(self._label_R is not None)
        if layout is not None:
            self.layout = layout
        self._count_samples()

    def _take(self, opened: Opened, classes: Sequence[str] | None) -> None:
        self._texts = opened.texts
        if opened.num_blank:
            self.notes.append(f"{counted(opened.num_blank, 'blank text')} left out.")
        self._label_R: IntArray | None = None
        self.classes: tuple[str, ...] = ()
        if opened.labels is not None:
            numbered = number_labels(opened.labels, classes or opened.classes)
            self._label_R, self.classes, notes = numbered
            self.notes += notes

    def _count_samples(self) -> None:
        """Find out which texts become several samples, or note that some are cut."""
        if self.rule.stride is None:
            self._first_R: IntArray | None = None
            self._note_long()
            return
        num_windows = self.rule.num_windows(self.lengths)
        self._first_R = np.cumsum(num_windows) - num_windows
        self._num_samples = int(num_windows.sum())

    def _note_long(self) -> None:
        places = np.unique(np.linspace(0, len(self._texts) - 1, NUM_TRIED).astype(np.int64))
        num_long = int((self._lengths_of(places) > self.rule.max_length).sum())
        if num_long:
            self.notes.append(
                f"{num_long} of {counted(len(places), 'text')} that were tried are longer than "
                f"max_length={self.rule.max_length} and are cut; num_cut counts all. Set stride to "
                "have windows of long texts."
            )

    @property
    def num_texts(self) -> int:
        """Texts that are used; with `stride`, one may be several samples."""
        return len(self._texts)

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of each text, int64 [texts]; all are tokenised when this is first asked for."""
        return self._lengths_of(np.arange(self.num_texts))

    @property
    def num_cut(self) -> int:
        """Texts of which only the first `max_length` tokens are used."""
        if self.rule.stride is not None:
            return 0
        return int((self.lengths > self.rule.max_length).sum())

    @property
    def labels(self) -> IntArray | None:
        """The class number of each sample, int64 [N]."""
        if self._label_R is None:
            return None
        return self._label_R[self.text_ids]

    @property
    def text_ids(self) -> IntArray:
        """The text that each sample is of, int64 [N]: no split may part samples of one text."""
        return self._parts_of(np.arange(len(self)))[0]

    def __len__(self) -> int:
        return self.num_texts if self._first_R is None else self._num_samples

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([operator.index(index)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Return several samples; their texts are tokenised together."""
        texts, rows = self._read(np.asarray(indices, dtype=np.int64))
        labels = [None] * len(texts) if self._label_R is None else self._label_R[texts].tolist()
        return [self.rule.sample(ids, label) for ids, label in zip(rows, labels, strict=True)]

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write samples `ids` into the rows of `out`."""
        texts, rows = self._read(ids)
        self.rule.fill(rows, None if self._label_R is None else self._label_R[texts], out)

    def text(self, index: int) -> str:
        """Return the text that sample `index` is of."""
        return self._texts.find(int(self._parts_of(np.array([index]))[0][0])).text

    def fingerprint(self) -> str:
        """Return a digest of the texts (of files their size and time of change) and all settings.

        Raises:
            ConfigError: the tokenizer does not say what it is made of.
        """
        about = (self.rule, self.classes, self._texts.mark(), mark_of(self.tokenizer))
        digest = hashlib.sha256(repr(about).encode())
        if self._label_R is not None:
            digest.update(self._label_R.tobytes())
        return digest.hexdigest()

    def in_mode(self, mode: str, **options: Any) -> Any:
        """Return the samples in another mode, tokenised once: see `modes.in_mode`."""
        return in_mode(self, mode, **options)

    def close(self) -> None:
        """Close the file, if there is one; it is opened again when it is needed."""
        close = getattr(self._texts, "close", None)
        if close is not None:
            close()

    def _read(self, ids: IntArray) -> tuple[IntArray, list[IntArray]]:
        """Return the text of each sample, and the ids of its tokens."""
        texts, windows = self._parts_of(ids)
        found = [self._texts.find(place).text for place in texts.tolist()]
        rows = encoded(self.tokenizer, found) if found else []
        window = self.rule.window
        return texts, [window(*part) for part in zip(rows, windows.tolist(), strict=True)]

    def _parts_of(self, ids: IntArray) -> tuple[IntArray, IntArray]:
        """Return the text of each sample, and which window of it the sample is."""
        outside = (ids < -len(self)) | (ids >= len(self))
        if outside.any():
            raise IndexError(f"There is no sample {ids[outside][0]}: the dataset has {len(self)}.")
        ids = ids % len(self)
        if self._first_R is None:
            return ids, np.zeros_like(ids)
        texts = np.searchsorted(self._first_R, ids, side="right") - 1
        return texts, ids - self._first_R[texts]

    def _lengths_of(self, places: Iterable[int]) -> IntArray:
        at = list(map(int, places))
        lengths: list[int] = []
        for first in range(0, len(at), _TOGETHER):
            texts = [self._texts.find(place).text for place in at[first : first + _TOGETHER]]
            lengths += map(len, encoded(self.tokenizer, texts))
        return np.array(lengths, dtype=np.int64)
