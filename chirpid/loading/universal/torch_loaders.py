"""Loaders of torch made anew: the same dataset, batches and order, fetched by ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)
from torch.utils.data import DistributedSampler as TorchDistributedSampler

from chirpid.data.general import generators
from chirpid.data.samplers import Sampler, ShuffledSampler
from chirpid.data.samplers import SequentialSampler as OurSequentialSampler
from chirpid.errors import ConfigError
from chirpid.loading.factory import Say
from chirpid.loading.universal.base import AnyLoader
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.parts import Part
from chirpid.loading.universal.settings import LoaderSettings
from chirpid.loading.universal.shares import share_of_rank
from chirpid.types import IntArray

LEAST_IDS, MOST_IDS = 2**17, 2**26
"""What any epoch may have, and what none has but of a dataset that is as large: 512 MiB."""
IDS_PER_BATCH = 16
"""Each batch takes as much memory as so many ids, beside its own."""


def why_not(loader: Any) -> str:
    """Return why a loader cannot be made anew; empty if it can."""
    if type(loader) is not DataLoader:
        return f"a {type(loader).__name__} may do more than a DataLoader"
    if isinstance(loader.dataset, IterableDataset):
        return f"{type(loader.dataset).__name__} is a stream, whose order its workers decide"
    if loader.batch_sampler is None:
        return "batch_size=None makes no batches"
    return ""


def anew(
    loader: DataLoader[Any],
    seed: int,
    tell: Say,
    *,
    trains: bool,
    **settings: Unpack[LoaderSettings],
) -> AnyLoader:
    """Return the loader of a DataLoader's dataset, with batches like its own.

    What torch shuffles comes in an order by `seed`; what it does not comes in the same batches, and
    so do the batches of a sampler of one's own.

    Args:
        tell: told in a line of each thing that could not be had.
        trains: where torch.distributed runs, shares of ranks are those to train by.
    """
    given: dict[str, Any] = dict(settings)
    collate = None if loader.collate_fn is default_collate else loader.collate_fn
    if loader.timeout:
        given.setdefault("timeout_s", float(loader.timeout))
    if (context := loader.multiprocessing_context) is not None:
        given.setdefault("start_method", getattr(context, "_name", context))
    sampler = sampler_of(loader, seed, tell)
    if isinstance(sampler, TheirBatches):
        batch_size = max((len(batch) for batch in sampler.batches(0)), default=1)
    else:
        batch_size = int(loader.batch_size or 1)
    if not (isinstance(sampler, TheirBatches) and sampler.is_share):
        sampler = share_of_rank(sampler, trains=trains, say=tell)
    return make_loader(
        Part.of(loader.dataset).numbered.data,
        batch_size,
        seed=seed,
        sampler=sampler,
        collate=collate,
        **given,
    )


def sampler_of(loader: DataLoader[Any], seed: int, tell: Say) -> Sampler:
    """Return the batches of a DataLoader, of the samples that the dataset at the root has.

    Of a `Subset` that names a sample several times, they are of its places.
    """
    part = Part.of(loader.dataset).numbered
    batches: Any = loader.batch_sampler
    if type(batches) is BatchSampler:
        inner, size, drop_last = batches.sampler, batches.batch_size, batches.drop_last
        if _is_of_all(inner, len(part)):
            if type(inner) is SequentialSampler:
                return OurSequentialSampler(part.ids, size, drop_last=drop_last)
            return ShuffledSampler(part.ids, size, drop_last=drop_last, seed=seed)
    return TheirBatches(batches, part.id_N, seed, len(part), tell)


def _is_of_all(sampler: Any, num_samples: int) -> bool:
    """Return whether a sampler of torch gives each sample of the dataset once."""
    if type(sampler) is RandomSampler and sampler.replacement:
        return False
    known = type(sampler) in (RandomSampler, SequentialSampler)
    return known and len(sampler) == len(sampler.data_source) == num_samples


def _length_of(sampler: Any) -> int | None:
    """Return how many batches a sampler says that it gives; None if it does not."""
    try:
        return len(sampler)
    except (TypeError, NotImplementedError):
        return None


@dataclass(frozen=True, slots=True, eq=False)
class TheirBatches(Sampler):
    """The batches of a batch sampler of torch, which is gone through once for each epoch.

    The generators of Python, numpy and torch are seeded by epoch meanwhile; one that the sampler
    holds itself is not, so that only the former can be resumed in mid-epoch.
    """

    theirs: Any
    id_N: IntArray | None
    """What its numbers are numbers of; None: of the dataset itself."""
    seed: int
    num_samples: int
    """Of the dataset: an epoch is no more than so many times that."""
    tell: Say
    """Told, once, that there are more batches than the sampler's length says."""
    _told: list[str] = field(default_factory=list, init=False, repr=False)
    _kept: dict[int, list[IntArray]] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_share(self) -> bool:
        """Whether the batches are those of one rank already."""
        return isinstance(getattr(self.theirs, "sampler", None), TorchDistributedSampler)

    def batches(self, epoch: int) -> Sequence[IntArray]:
        """Return the ids of all batches of an epoch, int64 [B] each.

        Raises:
            ConfigError: the sampler gives something else than lists of whole numbers, or no end.
        """
        if epoch not in self._kept:
            self._kept.clear()
            self._kept[epoch] = self._asked(epoch)
        return self._kept[epoch]

    def _asked(self, epoch: int) -> list[IntArray]:
        for one in (self.theirs, getattr(self.theirs, "sampler", None)):
            if callable(set_epoch := getattr(one, "set_epoch", None)):
                set_epoch(epoch)
        with generators.put_back():
            generators.seed_for(self.seed, epoch)
            found = self._taken()
        if any(ids.dtype.kind not in "iu" or ids.ndim != 1 for ids in found):
            raise ConfigError(
                f"{type(self.theirs).__name__} gives batches that are no lists of whole numbers. "
                "Use its DataLoader as it is."
            )
        return [ids.astype(np.int64) if self.id_N is None else self.id_N[ids] for ids in found]

    def _taken(self) -> list[NDArray[Any]]:
        """Return the batches that the sampler gives, as many as its length says if it has one.

        It is asked for one more: one that ends may count its epochs as it does.
        """
        length = _length_of(self.theirs)
        most, num_ids = self._most_ids(length), 0
        found: list[NDArray[Any]] = []
        for batch in self.theirs:
            if len(found) == length:
                self._tell_once(
                    f"{type(self.theirs).__name__} gives more batches than its length says: an "
                    f"epoch has {length}."
                )
                break
            found.append(np.asarray(batch))
            num_ids += found[-1].size + IDS_PER_BATCH
            if num_ids > most:
                raise ConfigError(
                    f"{type(self.theirs).__name__} has given {len(found):,} batches of a dataset "
                    f"of {self.num_samples:,}, and goes on. Give it, or its sampler, a __len__ "
                    "that says where an epoch ends; or leave the sampler out."
                )
        return found

    def _most_ids(self, length: int | None) -> int:
        """Return how many ids an epoch may have: with more it has no end, or they no memory."""
        most = MOST_IDS if length is not None else 1000 * self.num_samples
        return max(LEAST_IDS, 32 * self.num_samples, min(most, MOST_IDS))

    def _tell_once(self, line: str) -> None:
        if line not in self._told:
            self._told.append(line)
            self.tell(line)

    def fingerprint(self) -> str:
        """Return what is known of the sampler, as one line."""
        inner = type(getattr(self.theirs, "sampler", None)).__name__
        return f"batches of {type(self.theirs).__name__} of {inner}, seed={self.seed}"
