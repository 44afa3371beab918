"""Any map dataset with its samples kept in memory, under a bound that holds."""

from __future__ import annotations

import operator
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.protocols import MapDataset
from chirpid.data.general.trees import Tree
from chirpid.data.wrap.budgets import Memory, bytes_of
from chirpid.data.wrap.caches import Counts, RowCache, SampleCache
from chirpid.data.wrap.forms import Form
from chirpid.data.wrap.probes import look_at
from chirpid.data.wrap.row_table import CachePolicy, RowTable, SharedRows
from chirpid.data.wrap.samples import SampleStore
from chirpid.errors import ConfigError, did_you_mean
from chirpid.native.gather import check_within
from chirpid.types import IntArray

Say = Callable[[str], Any]


class CachedDataset:
    """A dataset that asks another one for each sample once, as far as memory allows.

    Samples that are numbers of one shape lie as rows in one table: a batch is read with one copy
    for each column. Others are kept one by one.

    Args:
        dataset: any map dataset whose samples are the same each time.
        max_memory_usage: what is kept, and all that is kept about it: bytes, a text such as
            "2 GiB", or a share of the free memory. Worker processes of a `DataLoader` have each a
            cache of their own, which begins empty, and divide this among them.
        policy: what a full cache does: "lru", or "first".
        pin_memory: lock the pages of the table for copies to a GPU; all of it is taken at once.
        share: one table for all worker processes, which needs samples of one shape; of a set that
            is too large it keeps the first.
        copy: hand out copies. Without, who changes a sample changes it in the cache.
        freeze: keep samples that are made with random numbers, the same for ever.
        say: told what is not done as asked; by default a warning.

    Raises:
        ConfigError: a setting is out of range, or at odds with what the samples are; or samples
            differ each time. The first, the middle and the last are looked at.
        BudgetError: when samples are first asked for: the bound is less than one takes.
    """

    def __init__(
        self,
        dataset: MapDataset,
        *,
        max_memory_usage: Memory = "2 GiB",
        policy: str = "lru",
        pin_memory: bool = False,
        share: bool = False,
        copy: bool = True,
        freeze: bool = False,
        say: Say | None = None,
    ) -> None:
        if policy not in list(CachePolicy):
            raise ConfigError(
                f"Unknown policy '{policy}'.{did_you_mean(policy, list(CachePolicy))} "
                f"Choose from: {', '.join(CachePolicy)}."
            )
        if share and freeze:
            raise ConfigError(
                "share=True needs samples that are the same whichever process makes them, and with "
                "freeze=True they need not be. Set one of the two."
            )
        self.dataset, self.max_bytes = dataset, bytes_of(max_memory_usage)
        self.policy, self._copy = CachePolicy(policy), copy
        self._say = say or warnings.warn
        self._pin = pin_memory and self._can_pin(share)
        self._form: Form | None = look_at(dataset, may_draw=freeze)
        self._varies = self._form is None
        # An attribute of the instance alone: a `BatchReader` is what has one.
        if self._form is not None:
            self.layout: Layout = self._form.layout
            """What each sample is; there is none where they are not numbers of one shape."""
        # Made before there are workers.
        self._shared = self._share() if share else None
        self._forget()

    def _can_pin(self, share: bool) -> bool:
        if torch.cuda.is_available() and not share:
            return True
        why = "share=True" if share else "there is no GPU to copy to"
        self._say(f"pin_memory true -> false: {why}")
        return False

    def _share(self) -> SharedRows:
        if self._form is None:
            raise ConfigError(
                "share=True keeps samples that are numbers of one shape; these differ, or hold "
                "something else. Set share=False."
            )
        return SharedRows(self._form.layout, len(self.dataset), self.max_bytes)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._cache: RowCache | SampleCache | None = None
        self._counts = Counts()
        self._pid = os.getpid()

    def _here(self) -> RowCache | SampleCache:
        """Return what is kept in this process."""
        if self._pid != os.getpid():
            self._after_fork()
        cache = self._cache
        if cache is None:
            with self._lock:
                cache = self._cache = self._cache or self._begin()
        return cache

    def _after_fork(self) -> None:
        """Begin anew with nothing; but a table that is whole costs nothing, and is read on."""
        before = self._cache
        self._forget()  # the locks too, which may have been held
        if self._shared is not None:
            self._shared.after_fork()
        table = before.kept if isinstance(before, RowCache) else None
        if before is not None and isinstance(table, RowTable) and table.is_whole():
            table.after_fork()
            before.counts = self._counts
            self._cache = before

    def _begin(self) -> RowCache | SampleCache:
        form, max_bytes = self._form, self._own_bytes()
        if form is None or self._varies:
            store = SampleStore(max_bytes, policy=self.policy, copy=self._copy)
            layout = None if form is None else form.layout
            return SampleCache(self.dataset, store, layout, self._counts)
        table: RowTable | SharedRows | None = self._shared
        if table is None:
            table = RowTable(form.layout, len(self.dataset), max_bytes, policy=self.policy)
            self._check_stable(table)
            failed = table.map.pin() if self._pin and get_worker_info() is None else None
            if failed:
                self._say(f"pin_memory true -> false: {failed}")
        return RowCache(self.dataset, form, table, copy=self._copy, counts=self._counts)

    def _own_bytes(self) -> int:
        """Return what this process may keep."""
        info = get_worker_info()
        return self.max_bytes // (info.num_workers if info and self._shared is None else 1)

    def _check_stable(self, table: RowTable) -> None:
        if not self._copy and not table.is_stable:
            raise ConfigError(
                "copy=False hands out rows of the table, over which policy=lru writes others: "
                f"{table.num_slots} of {len(self.dataset)} samples have room. Set policy='first', "
                "copy=True or a higher max_memory_usage."
            )

    @property
    def thread_safe(self) -> bool:
        """Whether several threads gain by asking at once; that they may is always so here."""
        return bool(getattr(self.dataset, "thread_safe", False))

    @property
    def fingerprint(self) -> Callable[[], str]:
        """That of the dataset, if it has one."""
        return self.dataset.fingerprint  # type: ignore[attr-defined, no-any-return]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tree:
        """Return a sample as the dataset gives it.

        Raises:
            IndexError: there is none of this number.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tree]:
        """Return samples as the dataset gives them; those that are not kept in one call to it."""
        ids = np.array([operator.index(index) for index in indices], np.int64)
        ids[ids < 0] += len(self.dataset)
        check_within(ids, len(self.dataset), "id", "samples")
        cache = self._here()
        samples = cache.samples(ids)
        if cache.varies and self._shared is None:  # of what is shared the others cannot be told
            self._start_over(cache)
        return samples

    def _start_over(self, cache: RowCache | SampleCache) -> None:
        """Keep samples one by one from now on: they are not of one shape after all."""
        with self._lock:
            if self._cache is cache:
                self._varies = True
                del self.layout
                self._cache = self._begin()

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write sample `ids[i]` into row i of `out`, which has as many rows as there are ids.

        Raises:
            IndexError: there is no sample of an id.
            DataError: a sample is not of the layout.
        """
        check_within(ids, len(self.dataset), "id", "samples")
        self._here().read_into(ids, out)

    def stats(self) -> dict[str, int]:
        """Return what this process asked for and keeps.

        Returns:
            num_hits, num_misses: samples that were there, or were not; num_evicted: samples that
            made room; num_kept: samples that are there; num_bytes: what they take with all that is
            kept about them; max_bytes: what they may take.
        """
        cache = self._here()
        kept = cache.kept
        return {
            "num_hits": self._counts.num_hits,
            "num_misses": self._counts.num_misses,
            "num_evicted": kept.num_evicted,
            "num_kept": kept.num_kept,
            "num_bytes": kept.nbytes,
            "max_bytes": self._own_bytes(),
        }

    def close(self) -> None:
        """Forget what is kept, and close the dataset if it can be closed."""
        self._shared = None
        self._forget()
        if hasattr(self.dataset, "close"):
            self.dataset.close()

    def __getstate__(self) -> dict[str, Any]:
        # What is kept stays here, if it is not shared: the other process begins with nothing.
        left_out = ("_lock", "_cache", "_counts", "_pid")
        state = {name: value for name, value in self.__dict__.items() if name not in left_out}
        return {**state, "_pin": False, "_say": warnings.warn}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()
