"""Batches in an order that reads blocks of neighbours together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chirpid.data.order import OrderRule
from chirpid.data.samplers.base import IdSampler, check_batch_size
from chirpid.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class BlockSampler(IdSampler):
    """Every item once in an epoch, in an order of its own that visits blocks one after another.

    With a window that covers all items the batches are those of `ShuffledSampler`.

    Raises:
        ConfigError: the batch size is no whole number above 0, or `drop_last` leaves no batch.
    """

    num_items: int
    batch_size: int
    rule: OrderRule
    drop_last: bool = False

    def __post_init__(self) -> None:
        check_batch_size(self.num_items, self.batch_size, self.drop_last)

    @property
    def num_ids(self) -> int:
        """How many ids an epoch has."""
        return self.num_items

    def epoch_ids(self, epoch: int) -> IntArray:
        """Return the ids of an epoch in order, int64 [n]."""
        ids = np.arange(self.num_items)
        return self.rule.epoch(ids, ids.astype(np.uint64), epoch)
