"""Any map dataset, asked ahead by threads, in a given order."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, default_collate, get_worker_info

from chirpid.data.datasets.base import as_ids
from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.protocols import BatchReader, MapDataset, getitems
from chirpid.data.wrap.budgets import Memory, bytes_of
from chirpid.data.wrap.buffers import PreallocatedBuffer
from chirpid.data.wrap.samples import bytes_in
from chirpid.data.wrap.tables import is_one
from chirpid.data.wrap.team import Task, Team
from chirpid.errors import ConfigError
from chirpid.types import IntArray

MOST_THREADS = 4
"""Threads that are started unless more are asked for."""
Ask = Any
"""The number of a sample, or those of a batch."""
Collate = Callable[[list[Any]], Any]


class AsyncPrefetchDataset(IterableDataset[Any]):
    """Samples or batches in the order that they are asked for, made ahead by threads.

    Worth its threads where making a sample lets others run: it reads files, decodes, or works in
    numpy or torch. A `DataLoader` may iterate over it; its worker processes divide the order.

    Args:
        dataset: any map dataset; with more than one thread, one that threads may ask at once.
        order: numbers of samples, or sequences of such numbers for batches: a list, an array, a
            sampler or a batch sampler, iterated over anew in each epoch; by default each sample
            once, in order.
        num_threads: by default one, or up to four where the dataset says that it is `thread_safe`.
        depth: what is made ahead at most; by default two for each thread.
        max_memory_usage: bytes, a text such as "64 MiB", or a share of the free memory: nothing is
            begun that would make more than this wait, as far as what came before tells its size.
            What is asked for next is always made.
        collate: makes a batch of samples; by default torch's.

    Raises:
        ConfigError: a number is below 1, or the order can be iterated over only once.
    """

    def __init__(
        self,
        dataset: MapDataset,
        order: Iterable[Ask] | None = None,
        *,
        num_threads: int | None = None,
        depth: int | None = None,
        max_memory_usage: Memory | None = None,
        collate: Collate | None = None,
    ) -> None:
        if num_threads is None:
            is_safe = getattr(dataset, "thread_safe", False)
            num_threads = min(MOST_THREADS, torch.get_num_threads()) if is_safe else 1
        depth = 2 * num_threads if depth is None else depth
        for name, value in (("num_threads", num_threads), ("depth", depth)):
            if value < 1:
                raise ConfigError(f"{name}={value} is below 1. Give 1 or more.")
        if isinstance(order, Iterator):
            raise ConfigError(
                "The order can be iterated over only once, and each epoch begins it anew. Give a "
                "list, an array or a sampler."
            )
        self.dataset, self.num_threads, self.depth = dataset, num_threads, depth
        self.order = range(len(dataset)) if order is None else order
        self.max_bytes = None if max_memory_usage is None else bytes_of(max_memory_usage)
        self.collate = collate
        self._position = 0

    def __len__(self) -> int:
        """Return the samples or batches of an epoch, where the order knows."""
        return len(self.order)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        begin, self._position = self._position, 0
        return _Ahead(self, begin)

    def state_dict(self) -> dict[str, Any]:
        """Return how far the latest iteration came: what was delivered, and not what was made."""
        return {"num_delivered": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Have the next iteration go on from there. The order is to be the same as it was then."""
        self._position = int(state["num_delivered"])

    def note(self, num_delivered: int) -> None:
        """Take down how far an iteration has come; 0 when it is over."""
        self._position = num_delivered


class _Ahead:
    """One epoch."""

    def __init__(self, ahead: AsyncPrefetchDataset, begin: int) -> None:
        self._ahead, self._delivered = ahead, begin
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        self._asks = islice(ahead.order, begin + first, None, step)
        self._makes = _Makes(ahead)
        self._waiting: deque[Task] = deque()
        self._largest = 0
        size_of = None if ahead.max_bytes is None else bytes_in
        ahead.note(begin)
        self._team = Team(ahead.num_threads, size_of)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            self._begin_more()
            if not self._waiting:
                self._ahead.note(0)
                raise StopIteration
            self._team.wait(self._waiting[0])
            task = self._waiting.popleft()
            self._begin_more()  # they work on while the caller does
        except BaseException:  # the end, or Ctrl-C
            self.close()
            raise
        self._delivered += 1
        self._ahead.note(self._delivered)
        if task.error is not None:
            raise task.error
        return task.result

    def _begin_more(self) -> None:
        while len(self._waiting) < self._ahead.depth and self._has_room():
            try:
                task = Task(self._makes.of(next(self._asks)))
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001 - the order's, raised when its turn comes
                task, self._asks = Task(None, error), islice((), 0)
            self._waiting.append(task)
            self._team.begin(task)

    def _has_room(self) -> bool:
        """Return whether one more may wait, if it and those in work are as large as any before."""
        if self._ahead.max_bytes is None or not self._waiting:
            return True
        done = [task.num_bytes for task in self._waiting if task.done]
        self._largest = max([self._largest, *done])
        num_coming = len(self._waiting) - len(done) + 1
        if not self._largest:
            return False
        return sum(done) + num_coming * self._largest <= self._ahead.max_bytes

    def close(self) -> None:
        """End the threads."""
        self._asks = islice((), 0)
        self._waiting.clear()
        self._team.close()


class _Makes:
    """What makes a sample or a batch."""

    def __init__(self, ahead: AsyncPrefetchDataset) -> None:
        self._dataset, self._num_slots = ahead.dataset, ahead.depth + 2
        self._collate = ahead.collate or default_collate
        is_reader = ahead.collate is None and isinstance(ahead.dataset, BatchReader)
        self._reader: Any = ahead.dataset if is_reader else None
        self._keeps = ahead.max_bytes is None
        """Whether memory is kept for the batches, all that may wait."""
        self._buffer: PreallocatedBuffer | None = None

    def of(self, ask: Ask) -> Callable[[], Any]:
        if is_one(ask):
            return partial(self._dataset.__getitem__, operator.index(ask))
        if self._reader is None:
            return partial(_collated, self._dataset, np.asarray(ask).tolist(), self._collate)
        ids = as_ids(np.asarray(ask))
        return partial(_read, self._reader, ids, self._memory(len(ids)))

    def _memory(self, num_rows: int) -> Columns:
        """Return memory for a batch; of the buffer only the thread of the caller may take."""
        layout: Layout = self._reader.layout
        if not self._keeps:
            return layout.empty(num_rows)
        if self._buffer is None:
            self._buffer = PreallocatedBuffer(layout, num_rows, num_slots=self._num_slots)
        return self._buffer.take(num_rows)


def _collated(dataset: MapDataset, indices: Sequence[int], collate: Collate) -> Any:
    return collate(getitems(dataset, indices))


def _read(dataset: BatchReader, ids: IntArray, out: Columns) -> Any:
    dataset.read_into(ids, out)
    return out.tree()
