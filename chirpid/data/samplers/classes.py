"""Items sorted by class, and the rounds in which a class is gone through.

Letters: N items, C classes, D draws; P pairs of a class and a round, M members of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chirpid.data.order import sorting
from chirpid.data.samplers.checks import frozen, shown
from chirpid.errors import DataError
from chirpid.seeds import U64, mix64
from chirpid.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Items in the order of their classes."""

    item_N: IntArray
    """int64 [N], the items of the first class in ascending order, then those of the next."""
    size_C: IntArray
    """int64 [C], items of each class, at least 1."""

    def __len__(self) -> int:
        return len(self.size_C)

    def members(
        self, class_D: IntArray, round_D: IntArray, slot_D: IntArray, *stream: int
    ) -> IntArray:
        """Return the item at a place of a round through a class, int64 [D].

        Each round is an order of the whole class, by a hash of (stream, round, item).

        Args:
            slot_D: places, each below the size of its class.
        """
        if not len(class_D):
            return np.empty(0, dtype=np.int64)
        pairs, pair_D = np.unique(round_D * len(self) + class_D, return_inverse=True)
        class_P, round_P = pairs % len(self), pairs // len(self)
        size_P = self.size_C[class_P]
        begin_P = np.cumsum(size_P) - size_P
        pair_M = np.repeat(np.arange(len(pairs)), size_P)
        shift_P = (np.cumsum(self.size_C) - self.size_C)[class_P] - begin_P
        item_M = self.item_N[np.arange(len(pair_M)) + shift_P[pair_M]]
        rank_M = mix64(*stream, round_P[pair_M].astype(np.uint64), item_M.astype(np.uint64))
        order_M = _by_pair(pair_M, rank_M)
        return np.asarray(item_M[order_M[begin_P[pair_D] + slot_D]])


def _by_pair(pair_M: IntArray, rank_M: U64) -> IntArray:
    """Return the places sorted by pair, and by rank within each."""
    # The pair takes the place of as many bits of the rank as it needs: one sort instead of two.
    # Ties of what is left go by item; a million items have one in about a million epochs.
    bits = int(pair_M[-1]).bit_length()
    if not bits:
        return sorting(rank_M)
    pair = pair_M.astype(np.uint64) << np.uint64(64 - bits)
    return sorting(pair | (rank_M >> np.uint64(bits)))


def classes_of(labels: npt.ArrayLike, *, ignore_negative: bool) -> Classes:
    """Return the classes of items, in ascending order of their labels.

    Args:
        labels: one for each item, whole numbers or texts.
        ignore_negative: leave out items with a label below 0; else they are an error.
    Raises:
        DataError: labels are of another kind, one is below 0, or none is left.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iuUS"):
        raise DataError(f"labels are {shown(given)}. Give one whole number or text for each item.")
    item_N = np.arange(len(given))
    if given.dtype.kind == "i":
        negative = np.flatnonzero(given < 0)
        if len(negative) and not ignore_negative:
            raise DataError(
                f"The label of item {negative[0]} is {given[negative[0]]}, and {len(negative)} are "
                "below 0. Name their classes, or use ignore_negative=True."
            )
        item_N = np.flatnonzero(given >= 0)
    if not len(item_N):
        raise DataError(f"None of {len(given)} items has a class to draw from. Label some.")
    _, class_N, size_C = np.unique(given[item_N], return_inverse=True, return_counts=True)
    return Classes(frozen(item_N[np.argsort(class_N, kind="stable")]), frozen(size_C))
