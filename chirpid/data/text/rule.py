"""How the ids of a text become samples: cut, padded, with a mask.

Letters: T tokens of a text, L tokens of a sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.collate.tokens import special_id
from chirpid.data.general.columns import Columns, Layout, Leaf
from chirpid.data.general.trees import skeleton_of
from chirpid.errors import ConfigError
from chirpid.types import IntArray

Sample = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRule:
    """What is made of the ids of a text.

    Raises:
        ConfigError: a setting has a value that it does not take.
    """

    max_length: int
    """The most tokens of a sample."""
    stride: int | None = None
    """Tokens from the begin of one window of a long text to that of the next; None keeps the
    first window alone."""
    padding: str | None = "max"
    """"max" fills all samples up to `max_length`; None leaves their lengths as they are."""
    pad_id: int = 0

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ConfigError(f"max_length={self.max_length} is not allowed: 1 or more tokens.")
        if self.padding not in ("max", None):
            raise ConfigError(f"padding={self.padding!r} is unknown. Choose 'max' or None.")
        if self.stride is not None and not 1 <= self.stride <= self.max_length:
            raise ConfigError(
                f"stride={self.stride} is not allowed: it takes 1 to max_length={self.max_length}, "
                "or tokens between two windows would be lost."
            )

    def num_windows(self, lengths: IntArray) -> IntArray:
        """Return how many samples texts of these lengths become; at least one each."""
        if self.stride is None:
            return np.ones_like(lengths)
        over = np.maximum(lengths - self.max_length, 0)
        return 1 + -(-over // self.stride)

    def window(self, ids_T: IntArray, number: int) -> IntArray:
        """Return the ids of a window, at most `max_length`."""
        begin = number * (self.stride or 0)
        return ids_T[begin : begin + self.max_length]

    def layout(self, labelled: bool) -> Layout | None:
        """Return what all samples are; None if they are not padded."""
        if self.padding is None:
            return None
        row, number = Leaf(torch.int64, (self.max_length,)), Leaf(torch.int64)
        leaves = {"input_ids": row, "attention_mask": row, "length": number}
        if labelled:
            leaves["label"] = number
        return Layout(tuple(leaves.values()), skeleton_of(dict.fromkeys(leaves, 0)))

    def write(self, ids_L: IntArray, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Write a sample into rows of `max_length`."""
        length = len(ids_L)
        input_ids[:length] = torch.from_numpy(ids_L)
        input_ids[length:] = self.pad_id
        attention_mask[:length] = 1
        attention_mask[length:] = 0

    def sample(self, ids_L: IntArray, label: int | None) -> Sample:
        """Return one sample."""
        if self.padding is None:
            made: Sample = {"input_ids": torch.tensor(ids_L), "length": len(ids_L)}
        else:
            rows = torch.empty(2, self.max_length, dtype=torch.int64)
            self.write(ids_L, rows[0], rows[1])
            made = {"input_ids": rows[0], "attention_mask": rows[1], "length": len(ids_L)}
        return made if label is None else {**made, "label": label}

    def fill(self, rows: Sequence[IntArray], labels: IntArray | None, out: Columns) -> None:
        """Write a batch of samples."""
        input_ids, attention_mask, length = out.tensors[:3]
        for row, ids_L in enumerate(rows):
            self.write(ids_L, input_ids[row], attention_mask[row])
            length[row] = len(ids_L)
        if labels is not None:
            out.tensors[3].copy_(torch.from_numpy(labels))


def pad_id_of(tokenizer: Any, pad_id: int | None, padding: str | None) -> int:
    """Return the id that pads.

    Raises:
        ConfigError: it is needed and nobody says what it is.
    """
    found = special_id(tokenizer, "pad") if pad_id is None else pad_id
    if found is None and padding is not None:
        raise ConfigError(
            "pad_id is not set, and the tokenizer names none. Set pad_id; the mask leaves it out."
        )
    return found or 0


def is_of_tokenizers(tokenizer: Any) -> bool:
    """Return whether it is one of the package tokenizers, which work without Python's lock."""
    return type(tokenizer).__module__.split(".")[0] == "tokenizers"


def mark_of(tokenizer: Any) -> str:
    """Return a text that changes with what a tokenizer does.

    Raises:
        ConfigError: it does not say what it is made of.
    """
    inside = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(inside, "to_str"):
        raise ConfigError(
            f"The tokenizer, a {type(tokenizer).__name__}, has no to_str(), so nobody can tell "
            "whether it changed, and there is no fingerprint. Give a key of your own."
        )
    return hashlib.sha256(inside.to_str().encode()).hexdigest()
