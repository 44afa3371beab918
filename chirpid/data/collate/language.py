"""Batches to train language models on: the next token, or tokens that were hidden.

Letters: B batch, T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chirpid.data.collate.fields import outline
from chirpid.data.collate.padding import one_of
from chirpid.data.collate.text import IGNORED, TextCollator
from chirpid.data.collate.tokens import special_id, special_ids, vocabulary_size
from chirpid.data.collate.tree import column
from chirpid.errors import ConfigError, DataError
from chirpid.seeds import U64, mix64, text_key, uniform
from chirpid.types import IntArray

_CHOSEN, _KIND, _WHICH = 0, 1, 2
"""Streams of draws: whether a token is asked for, what stands in its place, which other token."""


@dataclass(slots=True, kw_only=True)
class LanguageModelCollator(TextCollator):
    """Adds `labels`, int64 [B, T], to what `TextCollator` makes; -100 where nothing is asked.

    "causal": labels are the ids, without the padding; models shift them by one themselves. The
    mask decides what is padding and not its id, so that an end of text with the same id counts.

    "masked": a share of the tokens is asked for. Of these, 80 % are hidden behind the mask's id,
    10 % become any other token and 10 % stay (Devlin et al., 2019, BERT). Draws are keyed by
    (seed, epoch, sample, place), so a sample is masked alike in whatever batch and worker.
    """

    objective: str = "causal"
    """"causal" or "masked"."""
    mask_share: float = 0.15
    """Share of the tokens that are asked for."""
    mask_id: int | None = None
    """Id that hides a token; None for that of the tokenizer."""
    num_tokens: int | None = None
    """Size of the vocabulary; None for that of the tokenizer."""
    special: Collection[int] | None = None
    """Ids that are never asked for nor drawn; None for those of the tokenizer."""
    key_field: str | None = None
    """Key of a dict's whole number or text that names the sample; None to take its tokens."""
    seed: int = 0
    """Seed of the draws."""
    epoch: int = 0
    """Epoch of the draws; `at_epoch` changes it."""

    def __post_init__(self) -> None:
        # Not super(): with slots, dataclass makes the class anew and the name means the old one.
        TextCollator.__post_init__(self)
        one_of("objective", self.objective, ("causal", "masked"))
        if not 0 < self.mask_share <= 1:
            raise ConfigError(f"mask_share={self.mask_share} must be above 0 and at most 1.")
        if self.objective == "causal":
            return
        if self.mask_id is None:
            self.mask_id = special_id(self.tokenizer, "mask")
        if self.num_tokens is None:
            self.num_tokens = vocabulary_size(self.tokenizer)
        for name in ("mask_id", "num_tokens"):
            if getattr(self, name) is None:
                raise ConfigError(
                    f'{name} is not set, and the tokenizer names none. objective="masked" needs it.'
                )
        if self.special is None:
            self.special = special_ids(self.tokenizer)
        if len(self._reserved()) >= self._size:
            raise ConfigError(f"num_tokens={self.num_tokens} leaves no token that is not special.")

    def at_epoch(self, epoch: int) -> LanguageModelCollator:
        """Return the same collator with the draws of another epoch, for a loader of that epoch."""
        return replace(self, epoch=epoch)

    def _labelled(self, batch: dict[str, Tensor], samples: Sequence[Any]) -> dict[str, Tensor]:
        if "labels" in batch:
            raise DataError(
                "sample['labels'] is there already, and LanguageModelCollator makes one. Leave it "
                'out, or take collate="text".'
            )
        real = batch["attention_mask"].bool()
        if self.objective == "causal":
            labels = batch["input_ids"].masked_fill(~real, IGNORED)
            return {**batch, "labels": labels}
        key_B = self._keys(samples, batch["input_ids"], real)
        return {**batch, **self._hidden(batch["input_ids"], real, key_B)}

    def _keys(self, samples: Sequence[Any], ids: Tensor, real: Tensor) -> U64:
        """Return what the draws of each sample depend on, uint64 [B]."""
        if self.key_field is None:
            rows = (row[is_real] for row, is_real in zip(ids.numpy(), real.numpy(), strict=True))
            keys = [_key_of(row) for row in rows]
        elif isinstance(samples[0], Mapping):
            given = column(samples, self.key_field)
            keys = [text_key(key) if isinstance(key, str) else int(key) for key in given]
        else:
            raise DataError(
                f"key_field={self.key_field} needs samples that are dicts, and one here is "
                f"{outline(samples[0])}."
            )
        return np.array([key % 2**64 for key in keys], dtype=np.uint64)

    def _hidden(self, ids: Tensor, real: Tensor, key_B: U64) -> dict[str, Tensor]:
        """Return ids of which some are hidden, and as labels what these were."""
        ids_BT, real_BT = ids.numpy(), real.numpy()
        reserved = self._reserved()
        chosen = real_BT & ~np.isin(ids_BT, reserved)
        chosen &= self._draws(key_B, real_BT, _CHOSEN, uniform) < self.mask_share
        kind = self._draws(key_B, real_BT, _KIND, uniform)
        other = _ordinary(self._draws(key_B, real_BT, _WHICH, mix64), reserved, self._size)
        shown = np.where(chosen & (kind < 0.8), self._mask_id, ids_BT)
        shown = np.where(chosen & (kind >= 0.8) & (kind < 0.9), other, shown)
        labels = np.where(chosen, ids_BT, IGNORED)
        return {"input_ids": torch.from_numpy(shown), "labels": torch.from_numpy(labels)}

    def _draws(
        self, key_B: U64, real_BT: npt.NDArray[np.bool_], stream: int, draw: Callable[..., Any]
    ) -> Any:
        """Return a draw for each token: of its place among the real ones, wherever padding is."""
        place_BT = (np.cumsum(real_BT, axis=1) - 1).astype(np.uint64)
        return draw(self.seed, self.epoch, stream, key_B[:, None], place_BT)

    @property
    def _size(self) -> int:
        assert self.num_tokens is not None
        return self.num_tokens

    @property
    def _mask_id(self) -> int:
        assert self.mask_id is not None
        return self.mask_id

    def _reserved(self) -> IntArray:
        """Return the ids that are neither asked for nor drawn, ascending."""
        assert self.special is not None
        return np.array(sorted({*self.special, self._pad_id, self._mask_id}), dtype=np.int64)


def _key_of(ids: IntArray) -> int:
    """Return a 64-bit key of token ids, the same on every machine."""
    digest = hashlib.blake2b(ids.astype("<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _ordinary(hashes: U64, reserved: IntArray, num_tokens: int) -> IntArray:
    """Return an id for each hash, each that is not reserved as likely as the others."""
    reserved = reserved[(reserved >= 0) & (reserved < num_tokens)]
    rank = (hashes % np.uint64(num_tokens - len(reserved))).astype(np.int64)
    # The n-th reserved id, ascending, moves up all ranks from itself less n on.
    before = reserved - np.arange(len(reserved))
    return rank + np.searchsorted(before, rank.ravel(), side="right").reshape(rank.shape)
