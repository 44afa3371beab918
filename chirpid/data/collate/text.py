"""Batches of texts or token ids, named as models of the field take them.

Letters: B batch, T tokens.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.collate.default import collate_fields, some, told_kind
from chirpid.data.collate.fields import TEXT_KEYS, field_path, is_ids
from chirpid.data.collate.padding import PadRule, pad
from chirpid.data.collate.tokens import encoded, special_id
from chirpid.data.collate.tree import Field, Path, column, path_text
from chirpid.errors import ConfigError, DataError
from chirpid.types import IntArray

IGNORED = -100
"""The label that torch's cross-entropy leaves out (`ignore_index`)."""
COMPANIONS = {
    "attention_mask": 0,
    "token_type_ids": 0,
    "special_tokens_mask": 1,
    "labels": IGNORED,
}
"""What tokenised samples have beside `input_ids`, one number a token, and what pads it."""


@dataclass(slots=True, kw_only=True)
class TextCollator:
    """Makes texts or ids `input_ids` and `attention_mask`, both int64 [B, T]; the rest is stacked.

    In a dict they take the place of the text, so that a model can be called with the batch;
    elsewhere they are a dict of their own.
    """

    tokenizer: Any = None
    """One with `encode_batch` or `encode`, or a function of a list of texts; None for samples
    that hold ids already."""
    field: Field | None = None
    """Where the text is; None to look for it."""
    pad_id: int | None = None
    """Id of the padding; None for that of the tokenizer."""
    max_length: int | None = None
    """The most tokens that are kept, counted from the start."""
    on_long: str = "cut"
    """What happens to a longer text: "cut", told in one warning, or "error"."""
    side: str = "right"
    """Where the padding goes: "right" or "left", as generation wants it."""
    multiple_of: int = 1
    """Lengths are rounded up to a multiple of it."""
    count_cut: bool = False
    """Whether the batch has `num_cut` too, int64 [B], the tokens that did not fit."""
    _has_told: bool = dataclasses.field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _ = self._rule(0)
        if self.pad_id is None:
            self.pad_id = special_id(self.tokenizer, "pad")
        if self.pad_id is None:
            raise ConfigError(
                "pad_id is not set, and the tokenizer names none. Set pad_id; where a model has "
                "no padding of its own, that of its end of text does, since masks leave it out."
            )

    @property
    def fills(self) -> dict[str, float]:
        """What stands in the batch where a sample has no text."""
        return {"input_ids": self._pad_id, "labels": IGNORED}

    @property
    def _pad_id(self) -> int:
        assert self.pad_id is not None
        return self.pad_id

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Return the samples as one batch.

        Raises:
            DataError: no samples, no text or several, a text without a tokenizer, ids that are
                no whole numbers, or a text that is too long.
        """
        some(samples)
        here = field_path(samples[0], self.field, keys=TEXT_KEYS, fits=_is_text, what="text")
        if isinstance(samples[0], Mapping) and len(here) == 1:
            return self._flat(samples, here)

        def tokens(path: Path, values: Sequence[Any]) -> dict[str, Tensor]:
            return self._labelled(self._tokens(path, values, {}), samples)

        return collate_fields(samples, {here: tokens})

    def _flat(self, samples: Sequence[Any], here: Path) -> dict[Any, Any]:
        first, key = samples[0], here[0]
        beside = {
            name: column(samples, name)
            for name in COMPANIONS
            if name in first and name != key and is_ids(first[name])
        }
        tokens = self._labelled(self._tokens(here, column(samples, key), beside), samples)
        others = [
            {name: sample[name] for name in sample if name != key and name not in beside}
            for sample in samples
        ]
        rest = collate_fields(others, {}) if others[0] else {}
        both = sorted(tokens.keys() & rest.keys())
        if both:
            raise DataError(
                f"sample[{both[0]!r}] is there already, and {type(self).__name__} makes one. "
                "Rename it, or set field to the right text."
            )
        return {**tokens, **rest}

    def _labelled(self, batch: dict[str, Tensor], samples: Sequence[Any]) -> dict[str, Tensor]:
        """Return the batch with what a model is to learn; here as it is."""
        return batch

    def _tokens(
        self, path: Path, values: Sequence[Any], beside: Mapping[str, Sequence[Any]]
    ) -> dict[str, Tensor]:
        """Return what a model takes, of texts or ids and what goes with them token by token."""
        ids = self._ids(path, values)
        padded = pad(path, ids, self._rule(self._pad_id))
        self._tell(path, padded.num_cut, [len(row) for row in ids])
        batch = {"input_ids": padded.values, "attention_mask": padded.mask.long()}
        for name, rows in beside.items():
            _check_beside(name, rows, ids)
            batch[name] = pad((name,), rows, self._rule(COMPANIONS[name])).values
        if self.count_cut:
            batch["num_cut"] = padded.num_cut
        return batch

    def _ids(self, path: Path, values: Sequence[Any]) -> list[IntArray]:
        if isinstance(values[0], str):
            odd = next((n for n, value in enumerate(values) if not isinstance(value, str)), None)
            if odd is not None:
                raise DataError(
                    f"{path_text(path)} is a text in sample 0 of the batch and "
                    f"{told_kind(values[odd])} in sample {odd}."
                )
            if self.tokenizer is None:
                raise DataError(
                    f"{path_text(path)} is a text, and there is no tokenizer. Pass tokenizer=, or "
                    "samples that hold ids."
                )
            return encoded(self.tokenizer, values)
        for n, value in enumerate(values):
            if not is_ids(value):
                raise DataError(
                    f"{path_text(path)} is {told_kind(value)} in sample {n} of the batch, neither "
                    "a text nor a row of whole numbers."
                )
        return [np.asarray(value, dtype=np.int64) for value in values]

    def _rule(self, value: float) -> PadRule:
        return PadRule(
            value=value,
            side=self.side,
            multiple_of=self.multiple_of,
            max_length=self.max_length,
            on_long=self.on_long,
        )

    def _tell(self, path: Path, cut_B: Tensor, lengths: list[int]) -> None:
        num_cut = int(torch.count_nonzero(cut_B))
        if not num_cut or self._has_told:
            return
        self._has_told = True
        warnings.warn(
            f"max_length={self.max_length} cut {num_cut} of {len(lengths)} texts at "
            f"{path_text(path)}, the longest of {max(lengths)} tokens. This is told once; "
            "count_cut=True counts them in each batch.",
            stacklevel=2,
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) or is_ids(value)


def _check_beside(name: str, rows: Sequence[Any], ids: list[IntArray]) -> None:
    for n, (row, own) in enumerate(zip(rows, ids, strict=True)):
        if len(row) != len(own):
            raise DataError(
                f"sample[{name!r}] has {len(row)} items in sample {n} of the batch, and there are "
                f"{len(own)} tokens. It needs one for each."
            )
