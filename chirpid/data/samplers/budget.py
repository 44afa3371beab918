"""Batches of as many items as a budget of elements holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from chirpid.data.samplers.base import Sampler
from chirpid.data.samplers.buckets import shuffled_batches, sorted_in_windows
from chirpid.data.samplers.checks import assign, frozen, lengths_of, one_of, whole
from chirpid.data.samplers.plain import shuffled_places
from chirpid.errors import ConfigError, DataError
from chirpid.types import IntArray

TooLong = Literal["refuse", "alone", "skip"]


@dataclass(frozen=True, slots=True, eq=False)
class BudgetSampler(Sampler):
    """Every item once in an epoch, in batches whose size times longest item is within a budget.

    As `BucketSampler`, but a batch takes as many items of a window as the budget holds, the longest
    first. So batches of short items are larger, and all take about as much memory.

    Raises:
        ConfigError: a setting is out of range or at odds with another, or no batch is left.
        DataError: an item is too long, or lengths or ids are not whole numbers from 0 on.
    """

    lengths: InitVar[npt.ArrayLike]
    """Elements of each item of the set: samples, tokens, frames."""
    max_elements: int
    """Of a padded batch: its size times its longest item."""
    _: KW_ONLY
    max_batch: int | None = None
    """Items of a batch at most."""
    min_batch: int = 1
    """Items of a batch at least: smaller ones at the end of a window are left out, and an item of
    which the budget does not hold so many is too long."""
    multiple_of: int = 1
    """A batch has a multiple of so many items, or fewer than that."""
    too_long: TooLong = "refuse"
    """What becomes of an item beyond the budget: `refuse` it with an error, take it `alone` in a
    batch beyond the budget, or `skip` it in every epoch (`num_skipped` counts)."""
    window_items: int = 8192
    """Items that are sorted together: more pads less and mixes less."""
    ids: InitVar[npt.ArrayLike | None] = None
    """The items to use; None: all."""
    seed: int = 0
    num_skipped: int = field(init=False)
    """Items that are too long and come in no epoch."""
    id_N: IntArray = field(init=False, repr=False)
    length_N: IntArray = field(init=False, repr=False)

    def __post_init__(self, lengths: npt.ArrayLike, ids: npt.ArrayLike | None) -> None:
        self._check_settings()
        id_N, length_N = lengths_of(lengths, ids)
        is_long = length_N > self.max_elements // self.min_batch
        if is_long.any() and self.too_long == "refuse":
            raise DataError(self._refusal(id_N[is_long], length_N[is_long]))
        if self.too_long == "skip":
            id_N, length_N = frozen(id_N[~is_long]), frozen(length_N[~is_long])
        num_skipped = int(is_long.sum()) if self.too_long == "skip" else 0
        assign(self, num_skipped=num_skipped, id_N=id_N, length_N=length_N)
        if num_skipped and not len(id_N):
            raise ConfigError(
                f"All {num_skipped} items are longer than max_elements={self.max_elements} allows. "
                "Raise it."
            )

    def batches(self, epoch: int) -> Sequence[IntArray]:
        """Return the ids of all batches of an epoch, the longest item first, int64 [B] each.

        Raises:
            ConfigError: all batches are smaller than `min_batch`.
        """
        return self.alike_batches(epoch, 1)

    def alike_batches(self, epoch: int, num_alike: int) -> Sequence[IntArray]:
        """Return the batches of an epoch, so many in a row about as long as each other."""
        place = shuffled_places(self.id_N, seed=self.seed, epoch=epoch)
        place = sorted_in_windows(place, self.length_N, self.window_items)
        found = np.split(self.id_N[place], self._starts(self.length_N[place])[1:])
        kept = [batch for batch in found if len(batch) >= self.min_batch]
        if len(place) and not kept:
            raise ConfigError(
                f"No batch of {len(place)} items has min_batch={self.min_batch}. Use a smaller one."
            )
        return shuffled_batches(kept, self.seed, epoch, num_alike)

    def _starts(self, falling_N: IntArray) -> list[int]:
        """Return where each batch begins among items that fall in length within each window."""
        holds_N = np.maximum(self.max_elements // np.maximum(falling_N, 1), 1)
        holds_N = np.where(falling_N > 0, holds_N, len(falling_N))  # empty items take no room
        if self.max_batch is not None:
            holds_N = np.minimum(holds_N, self.max_batch)
        holds, num_items = holds_N.tolist(), len(falling_N)
        starts, start = [], 0
        while start < num_items:
            starts.append(start)
            window_end = (start // self.window_items + 1) * self.window_items
            size = min(holds[start], window_end - start, num_items - start)
            start += size - size % self.multiple_of if size > self.multiple_of else size
        return starts

    def _check_settings(self) -> None:
        for name in ("max_elements", "min_batch", "multiple_of", "window_items"):
            whole(name, getattr(self, name))
        whole("seed", self.seed, least=0)
        one_of("too_long", self.too_long, ("refuse", "alone", "skip"))
        if self.max_batch is not None:
            whole("max_batch", self.max_batch)
            if self.max_batch < self.min_batch:
                raise ConfigError(
                    f"max_batch={self.max_batch} is below min_batch={self.min_batch}. Swap them."
                )
        if self.min_batch > self.multiple_of and self.min_batch % self.multiple_of:
            raise ConfigError(
                f"min_batch={self.min_batch} is no multiple of multiple_of={self.multiple_of}. "
                "Make it one, or smaller than that."
            )
        if self.too_long == "alone" and self.min_batch > 1:
            raise ConfigError(
                f"too_long=alone makes batches of one item, min_batch={self.min_batch} forbids "
                "them. Use too_long=skip, or min_batch=1."
            )

    def _refusal(self, id_L: IntArray, length_L: IntArray) -> str:
        worst = int(np.argmax(length_L))
        limit = f"max_elements={self.max_elements}"
        if self.min_batch > 1:
            limit += f" with min_batch={self.min_batch}"
        return (
            f"Item {id_L[worst]} has {length_L[worst]} elements, beyond {limit}; "
            f"{len(id_L)} in all. Raise it, or use too_long=skip or alone."
        )
