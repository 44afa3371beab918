"""What tokenizers of several makes have in common: texts to ids, and their special ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chirpid.errors import ConfigError, DataError
from chirpid.types import IntArray

_NAMES = {
    "pad": ("[PAD]", "<pad>", "<|pad|>"),
    "mask": ("[MASK]", "<mask>"),
}


def encoded(tokenizer: Any, texts: Sequence[str]) -> list[IntArray]:
    """Return the ids of each text, int64 [T], without padding that the tokenizer may have added.

    Args:
        tokenizer: one with `encode_batch` (tokenizers), a function of a list of texts
            (transformers), or one with `encode` of a single text.
    Raises:
        ConfigError: it is none of these.
        DataError: it did not give ids for each text.
    """
    if hasattr(tokenizer, "encode_batch"):
        made = tokenizer.encode_batch(list(texts))
        if made and hasattr(made[0], "ids"):
            rows = [_real(each.ids, each.attention_mask) for each in made]
        else:
            rows = [_ids(each) for each in made]
    elif callable(tokenizer):
        rows = _called(_call(tokenizer, list(texts)))
    elif hasattr(tokenizer, "encode"):
        rows = [_ids(tokenizer.encode(text)) for text in texts]
    else:
        raise ConfigError(
            f"tokenizer={type(tokenizer).__name__} has neither encode_batch nor encode and cannot "
            "be called. Pass one of tokenizers or transformers, or a function of a list of texts."
        )
    if len(rows) != len(texts):
        raise DataError(
            f"The tokenizer gave {len(rows)} rows of ids for {len(texts)} texts. It must give one "
            "for each: switch off what splits long texts."
        )
    return rows


def special_id(tokenizer: Any, kind: str) -> int | None:
    """Return the id that a tokenizer has for "pad" or "mask"; None if it has none."""
    of_transformers = getattr(tokenizer, f"{kind}_token_id", None)
    if of_transformers is not None:
        return int(of_transformers)
    padding = getattr(tokenizer, "padding", None)
    if kind == "pad" and isinstance(padding, Mapping) and "pad_id" in padding:
        return int(padding["pad_id"])
    if hasattr(tokenizer, "token_to_id"):
        ids = [tokenizer.token_to_id(name) for name in _NAMES[kind]]
        return next((int(each) for each in ids if each is not None), None)
    return None


def special_ids(tokenizer: Any) -> set[int]:
    """Return the ids of a tokenizer that stand for no text: beginnings, ends, padding."""
    if hasattr(tokenizer, "all_special_ids"):
        return {int(each) for each in tokenizer.all_special_ids}
    if hasattr(tokenizer, "get_added_tokens_decoder"):
        added = tokenizer.get_added_tokens_decoder()
        return {int(number) for number, token in added.items() if token.special}
    return set()


def vocabulary_size(tokenizer: Any) -> int | None:
    """Return how many ids a tokenizer has; None if it does not say."""
    if hasattr(tokenizer, "get_vocab_size"):
        return int(tokenizer.get_vocab_size())
    return len(tokenizer) if hasattr(tokenizer, "__len__") else None


def _call(tokenizer: Any, texts: list[str]) -> Any:
    try:
        return tokenizer(texts)
    except (AttributeError, TypeError) as error:
        raise ConfigError(
            f"tokenizer={type(tokenizer).__name__} was called with a list of texts and failed "
            f"({type(error).__name__}: {error}). Of a function of one text, make one of a list."
        ) from error


def _called(made: Any) -> list[IntArray]:
    if not isinstance(made, Mapping):
        return [_ids(row) for row in made]
    masks = made.get("attention_mask")
    if masks is None:
        return [_ids(row) for row in made["input_ids"]]
    return [_real(row, mask) for row, mask in zip(made["input_ids"], masks, strict=True)]


def _real(ids: Any, mask: Any) -> IntArray:
    """Return the ids that the mask calls real."""
    row, real = _ids(ids), np.asarray(mask, dtype=bool)
    return row if real.all() else row[real]


def _ids(row: Any) -> IntArray:
    try:
        return np.asarray(row, dtype=np.int64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The tokenizer gave {str(row)[:60]} for a text, and a row of ids is wanted. Look its "
            "tokens up in a vocabulary."
        ) from error
