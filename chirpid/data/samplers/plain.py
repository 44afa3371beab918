"""Every item once in an epoch: shuffled, or as it stands."""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar, dataclass, field

import numpy as np
import numpy.typing as npt

from chirpid.data.order import batches_of, epoch_order
from chirpid.data.samplers.base import IdSampler, check_batch_size
from chirpid.data.samplers.checks import assign, ids_of, whole
from chirpid.types import IntArray, Order


@dataclass(frozen=True, slots=True, eq=False)
class _EachOnce(IdSampler):
    """What a sampler of every item has."""

    items: InitVar[int | npt.ArrayLike]
    """How many items there are, or the ids of those to use."""
    batch_size: int
    _: KW_ONLY
    drop_last: bool = False
    """Leave out the items at the end that do not fill a batch."""
    id_N: IntArray = field(init=False, repr=False)

    def __post_init__(self, items: int | npt.ArrayLike) -> None:
        assign(self, id_N=ids_of(items))
        check_batch_size(self.num_ids, self.batch_size, self.drop_last)

    @property
    def num_ids(self) -> int:
        """How many ids an epoch has."""
        return len(self.id_N)

    def repeats(self, epoch: int) -> list[IntArray]:
        """Return how often the epoch has come to each id before: never, int64 [B] for each."""
        none = np.zeros(self.num_ids, dtype=np.int64)
        return batches_of(none, self.batch_size, drop_last=self.drop_last)


@dataclass(frozen=True, slots=True, eq=False)
class SequentialSampler(_EachOnce):
    """Every item once in an epoch, in the order that is given.

    Raises:
        ConfigError: a setting is out of range, or `drop_last` leaves no batch.
        DataError: ids are not whole numbers from 0 on, or one comes twice.
    """

    def epoch_ids(self, epoch: int) -> IntArray:
        """Return the ids of an epoch in order, int64 [n]."""
        return self.id_N.copy()


@dataclass(frozen=True, slots=True, eq=False)
class ShuffledSampler(_EachOnce):
    """Every item once in an epoch, each epoch in an order of its own.

    Which items there are decides the order, not how they are listed.

    Raises:
        ConfigError: a setting is out of range, or `drop_last` leaves no batch.
        DataError: ids are not whole numbers from 0 on, or one comes twice.
    """

    _: KW_ONLY
    seed: int = 0

    def __post_init__(self, items: int | npt.ArrayLike) -> None:
        whole("seed", self.seed, least=0)
        _EachOnce.__post_init__(self, items)

    def epoch_ids(self, epoch: int) -> IntArray:
        """Return the ids of an epoch in order, int64 [n]."""
        return self.id_N[shuffled_places(self.id_N, seed=self.seed, epoch=epoch)]


def shuffled_places(id_N: IntArray, *, seed: int, epoch: int) -> IntArray:
    """Return where each id of the shuffled order of an epoch stands in `id_N`, int64 [n]."""
    return epoch_order(
        np.arange(len(id_N)),
        id_N.astype(np.uint64),  # the key of an item is its id
        order=Order.shuffled,
        seed=seed,
        epoch=epoch,
        block_segments=1,
        window_segments=1,
    )
