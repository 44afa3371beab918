"""What a sampler is: all batches of an epoch, as a pure function of settings, seed and epoch.

Nothing is carried from batch to batch, so there is no state that a worker, a rank or a resumed run
could have differently. A sampler of one's own is a frozen dataclass with `batches`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from chirpid.data.order import batches_of
from chirpid.data.samplers.checks import whole
from chirpid.data.samplers.settings import settings_text
from chirpid.errors import ConfigError
from chirpid.types import IntArray


class Sampler(ABC):
    """The batches of every epoch."""

    __slots__ = ()

    @abstractmethod
    def batches(self, epoch: int) -> Sequence[IntArray]:
        """Return the ids of all batches of an epoch, int64 [B] each."""

    def num_batches(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return len(self.batches(epoch))

    def repeats(self, epoch: int) -> Sequence[IntArray]:
        """Return how often the epoch has come to each id before, int64 [B] for each batch.

        Augmentation that is drawn by (seed, epoch, id) needs it where an id comes twice.
        """
        return repeats_of(self.batches(epoch))

    def alike_batches(self, epoch: int, num_alike: int) -> Sequence[IntArray]:
        """Return the batches of an epoch, so many in a row about as long as each other.

        Ranks take such a row together, and none waits for the one with the longest items.
        """
        return self.batches(epoch)

    def fingerprint(self) -> str:
        """Return the settings that batches depend on, as one line."""
        return settings_text(self)


class IdSampler(Sampler):
    """A sampler whose batches are cut from one sequence of ids; the last may be short."""

    __slots__ = ()
    batch_size: int
    drop_last: bool

    @property
    @abstractmethod
    def num_ids(self) -> int:
        """How many ids an epoch has."""

    @abstractmethod
    def epoch_ids(self, epoch: int) -> IntArray:
        """Return the ids of an epoch in order, int64 [n]."""

    def batches(self, epoch: int) -> list[IntArray]:
        """Return the ids of all batches of an epoch, int64 [B] each."""
        return batches_of(self.epoch_ids(epoch), self.batch_size, drop_last=self.drop_last)

    def num_batches(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return num_cut(self.num_ids, self.batch_size, self.drop_last)


def num_cut(num_ids: int, batch_size: int, drop_last: bool) -> int:
    """Return how many batches `batches_of` cuts."""
    return num_ids // batch_size if drop_last else -(-num_ids // batch_size)


def check_batch_size(num_ids: int, batch_size: int, drop_last: bool) -> None:
    """Check that an epoch of some ids has some batch.

    Raises:
        ConfigError: it has none, or the batch size is no whole number above 0.
    """
    whole("batch_size", batch_size)
    if drop_last and 0 < num_ids < batch_size:
        raise ConfigError(
            f"drop_last drops all: {num_ids} ids make no batch of batch_size={batch_size}. "
            "Use drop_last=False or smaller batches."
        )


def repeats_of(batches: Sequence[IntArray]) -> list[IntArray]:
    """Return how often each id came before, in these batches and in this order, [B] for each."""
    if not batches:
        return []
    ends = np.cumsum([len(batch) for batch in batches])
    return np.split(occurrences(np.concatenate(batches)), ends[:-1])


def occurrences(ids: IntArray) -> IntArray:
    """Return how often each id stands earlier in a sequence, int64 [n]."""
    by_id = np.argsort(ids, kind="stable")
    ascending = ids[by_id]
    is_first = np.ones(len(ids), dtype=bool)
    is_first[1:] = ascending[1:] != ascending[:-1]
    first = np.flatnonzero(is_first)
    count = np.empty(len(ids), dtype=np.int64)
    count[by_id] = np.arange(len(ids)) - first[np.cumsum(is_first) - 1]
    return count
