"""The batches of one rank: any sampler, dealt out to the processes of a parallel training.

Every rank computes the epoch of all and takes its own, so nothing is sent between them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from chirpid.data.order import OrderRule, batches_of
from chirpid.data.ranks import eval_shares, train_shares
from chirpid.data.samplers.base import IdSampler, Sampler, num_cut, occurrences, repeats_of
from chirpid.data.samplers.checks import one_of, whole
from chirpid.errors import ConfigError
from chirpid.types import IntArray, Order

Uneven = Literal["repeat", "drop", "keep"]


def this_rank() -> int:
    """Return the number of this process: of torch.distributed, else of RANK, else 0."""
    return _of_torch("get_rank", _of_environment("RANK", 0))


def all_ranks() -> int:
    """Return how many processes there are: of torch.distributed, else of WORLD_SIZE, else 1."""
    return _of_torch("get_world_size", _of_environment("WORLD_SIZE", 1))


@dataclass(frozen=True, slots=True, eq=False)
class DistributedSampler(Sampler):
    """The share of one rank of the epochs of another sampler.

    A sequence of ids is dealt out in turns and then cut, so that the batches of all ranks together
    are a batch of the sampler that is as many times as large. Of a sampler that chooses whole
    batches, batches are dealt out, those of like length at one step.

    Raises:
        ConfigError: the rank is not below the number of ranks, or a setting is out of range.
    """

    base: Sampler
    rank: int = field(default_factory=this_rank)
    num_ranks: int = field(default_factory=all_ranks)
    uneven: Uneven = "repeat"
    """What cannot be dealt out evenly: the first come again (`repeat`), the last are left out
    (`drop`), or some ranks have one more (`keep`: for validation, all once and in order)."""

    def __post_init__(self) -> None:
        whole("num_ranks", self.num_ranks)
        if whole("rank", self.rank, least=0) >= self.num_ranks:
            raise ConfigError(
                f"rank is {self.rank}, but num_ranks is {self.num_ranks}. Count ranks from 0."
            )
        one_of("uneven", self.uneven, ("repeat", "drop", "keep"))

    def num_batches(self, epoch: int) -> int:
        """Return how many batches an epoch has here."""
        if isinstance(self.base, IdSampler):
            num_mine = self._num_mine(self.base.num_ids)
            return num_cut(num_mine, self.base.batch_size, self.base.drop_last)
        return self._num_mine(self.base.num_batches(epoch))

    def batches(self, epoch: int) -> list[IntArray]:
        """Return the ids of all batches of this rank in an epoch, int64 [B] each.

        Raises:
            ConfigError: too few for each rank to have a batch.
        """
        if isinstance(self.base, IdSampler):
            ids = self.base.epoch_ids(epoch)
            dealt, mine = self._deal(len(ids))
            found = self._cut(ids[dealt[mine]], self.base)
            return self._some(found, len(ids), "ids")
        whole_epoch = self.base.alike_batches(epoch, self.num_ranks)
        dealt, mine = self._deal(len(whole_epoch))
        found = [whole_epoch[place] for place in dealt[mine]]
        return self._some(found, len(whole_epoch), "batches")

    def repeats(self, epoch: int) -> list[IntArray]:
        """Return how often the epoch of all ranks has come to each id before, [B] for each batch.

        The same id at two ranks has two numbers.
        """
        if isinstance(self.base, IdSampler):
            ids = self.base.epoch_ids(epoch)
            dealt, mine = self._deal(len(ids))
            return self._cut(occurrences(ids[dealt])[mine], self.base)
        whole_epoch = self.base.alike_batches(epoch, self.num_ranks)
        dealt, mine = self._deal(len(whole_epoch))
        repeats = repeats_of([whole_epoch[place] for place in dealt])
        return [repeats[place] for place in mine]

    def fingerprint(self) -> str:
        """Return the settings that batches depend on, the same at every rank: one state is all."""
        base = self.base.fingerprint()
        return f"DistributedSampler({base}, num_ranks={self.num_ranks}, uneven={self.uneven})"

    def _deal(self, count: int) -> tuple[IntArray, IntArray]:
        """Return the places of an epoch as dealt out to all ranks, and which of these are mine."""
        if self.uneven == "keep":
            places = np.arange(count)
            return places, eval_shares(places, self.num_ranks)[self.rank]
        shares = train_shares(
            np.arange(count),
            np.empty(0, dtype=np.uint64),  # places in sequence need no keys
            OrderRule(Order.sequential),
            epoch=0,
            num_ranks=self.num_ranks,
            drop=self.uneven == "drop",
        )
        dealt = np.stack(shares, axis=1).ravel()
        return dealt, np.arange(self.rank, len(dealt), self.num_ranks)

    def _num_mine(self, count: int) -> int:
        each, left = divmod(count, self.num_ranks)
        more = {"repeat": left > 0, "drop": False, "keep": self.rank < left}
        return each + more[self.uneven]

    def _cut(self, values: IntArray, base: IdSampler) -> list[IntArray]:
        return batches_of(values, base.batch_size, drop_last=base.drop_last)

    def _some(self, found: list[IntArray], count: int, kind: str) -> list[IntArray]:
        if count and not found and self.uneven != "keep":
            raise ConfigError(
                f"{count} {kind} make no batch for each of {self.num_ranks} ranks. "
                "Use smaller batches, fewer ranks, or uneven=repeat without drop_last."
            )
        return found


def _of_torch(name: str, otherwise: int) -> int:
    import torch.distributed as dist  # takes seconds, and only parallel trainings need it

    if dist.is_available() and dist.is_initialized():
        return int(getattr(dist, name)())
    return otherwise


def _of_environment(name: str, otherwise: int) -> int:
    value = os.environ.get(name, str(otherwise))
    if not value.isdecimal():
        raise ConfigError(f"The environment has {name}={value!r}. Set a whole number, or unset it.")
    return int(value)
