"""Batches on their way through workers: in order, in a fixed number of slots, some in parts.

Threads and processes differ in how a part of a batch gets to a worker and how word of it comes
back; which slot a batch is made in, and what comes out when, is decided here for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from chirpid.data.datasets import BatchSource, as_ids
from chirpid.data.kept import Stages, add_stages
from chirpid.loading.backends.base import largest
from chirpid.native.openmp import Waits
from chirpid.types import Batch, IntArray, Mode, Span


class Slots(Protocol):
    """The buffers that batches are made in."""

    def reserve(self, batch_size: int) -> None:
        """Make sure that every slot holds `batch_size` rows."""

    def renew(self, turn: int) -> None:
        """Make sure that nobody uses what was lent of a buffer; before any worker fills it."""

    def slot(self, turn: int) -> Any:
        """Return a buffer, once the device has copied what was in it."""
        ...

    def was_used(self, turn: int) -> None:
        """Note that the caller has queued its copies out of a buffer."""


@dataclass(slots=True, eq=False)
class Part:
    """Rows `first` to `end` of a batch: what one worker makes at a time."""

    batch: OnItsWay
    first: int
    end: int
    done: bool = False
    """Set last, by whoever knows that the rows are there or never will be."""
    stages: Stages = field(default_factory=dict)
    worker: int = -1
    begin_s: float = 0.0
    end_s: float = 0.0
    """When the worker began and ended, by `time.perf_counter`."""
    core_s: float = 0.0
    """Seconds of it that the worker had a core."""
    made: Any = None
    """The rows, where they are no part of the slot."""
    kept: IntArray | None = None
    """Which ids they are of, where some were left out."""
    error: BaseException | None = None
    num_deaths: int = 0
    """Workers that died while they made it."""

    @property
    def ids(self) -> IntArray:
        return self.batch.ids[self.first : self.end]


@dataclass(slots=True, eq=False)
class OnItsWay:
    """A batch from the moment a slot was found for it until it is handed out."""

    ids: IntArray
    slot: int
    parts: list[Part] = field(default_factory=list)
    wanted: bool = True
    """False once nobody will ask for it: workers leave it out."""

    @property
    def done(self) -> bool:
        return all(part.done for part in self.parts)


class WorkerBackend(ABC):
    """Hands batches to workers and takes them back in order.

    Slots are two more than batches in work: the caller may still use those two. Workers get all
    that there are slots for at once, so that they go on while the caller computes, and none more.
    """

    _slots: Slots

    def __init__(self, dataset: BatchSource, *, num_workers: int, num_slots: int) -> None:
        self.num_workers, self.num_slots = num_workers, num_slots
        # A row that is decoded costs more than word of a part does; one that is copied does not.
        self._split = dataset.mode is Mode.lazy and dataset.spec.in_parts
        self._free = deque(range(num_slots))
        self._held: deque[int] = deque()  # of the last two batches, which the caller may use
        self._leaving: list[OnItsWay] = []  # no longer wanted, but still in work
        self._line: deque[OnItsWay] = deque()

    @abstractmethod
    def _send(self, part: Part) -> None:
        """Let any worker make a part."""

    @abstractmethod
    def _receive(self) -> None:
        """Wait until a part is done; it may be noted in several of them, or in none yet."""

    def _begin(self, batch_size: int) -> None:
        """Make ready for a pass of batches that are no larger than this."""
        self._slots.reserve(batch_size)

    @abstractmethod
    def _start_anew(self) -> None:
        """Start new workers, after an exception in the midst of the bookkeeping, such as Ctrl-C."""

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one `Batch` per array of ids, in order; see `LoaderBackend`."""
        self._give_up_line()
        line, position, orderly = self._line, 0, False
        waits = Waits(torch.get_num_threads(), self.num_workers)
        try:
            waits.sleep(self._split)
            self._begin(largest(batches))
            while True:
                self._release(keep=1)
                position = self._fill(batches, position)
                if not line:
                    orderly = True
                    return
                while not line[0].done:
                    self._receive()
                batch, error = self._take(line)
                orderly = True
                if error is not None:
                    raise error
                assert batch is not None
                yield batch
                orderly = False
                assert line is self._line, "another pass has begun on this backend"
                self._slots.was_used(self._held[-1])
                # Workers that ran out of slots leave the cores to who spins on them.
                waits.sleep(not all(batch.done for batch in line))
        finally:
            waits.end()
            if line is self._line:
                self._give_up_line()
                if not orderly:
                    self._forget_all()
                    self._start_anew()

    def _fill(self, batches: Sequence[IntArray], position: int) -> int:
        """Send batches while there are slots; return the first that was not sent."""
        while position < len(batches):
            self._collect_what_left()
            if not self._free:
                if self._line:
                    break
                self._receive()  # all slots are in work for a pass that was left
                continue
            ids = as_ids(batches[position])
            batch = OnItsWay(ids, self._free.popleft())
            self._slots.renew(batch.slot)
            parts = self._num_parts(position, len(batches), len(ids))
            edges = [len(ids) * k // parts for k in range(parts + 1)]
            batch.parts = [Part(batch, edges[k], edges[k + 1]) for k in range(parts)]
            self._line.append(batch)
            for part in batch.parts:
                self._send(part)
            position += 1
        return position

    def _num_parts(self, position: int, num_batches: int, num_rows: int) -> int:
        """Return in how many parts a batch is made.

        At the start of a pass the caller waits for one batch, and at its end there are fewer
        batches than workers: there all workers make one batch together.
        """
        inside = self.num_workers <= position < num_batches - self.num_workers
        return 1 if inside or not self._split else max(1, min(self.num_workers, num_rows))

    def _take(self, line: deque[OnItsWay]) -> tuple[Batch | None, BaseException | None]:
        """Return the batch whose turn it is, or what a worker met while it made it."""
        coming = line.popleft()
        for part in coming.parts:
            if part.error is not None:  # the first by row, whichever came first
                self._free.append(coming.slot)
                return None, part.error
        self._held.append(coming.slot)
        spans = tuple(
            [Span(p.worker, p.begin_s, p.end_s, p.stages, p.core_s) for p in coming.parts]
        )
        stages = coming.parts[0].stages if len(spans) == 1 else _sums(spans)
        last = coming.parts[-1]
        ids = coming.ids if last.kept is None else last.kept
        inputs = last.made
        if inputs is None:
            inputs = self._slots.slot(coming.slot)[: len(ids)]
        return Batch(ids, inputs, stages, last.worker, spans), None

    def _release(self, keep: int) -> None:
        """Free the slots of batches that are no longer valid, all but the last `keep`."""
        while len(self._held) > keep:
            self._free.append(self._held.popleft())

    def _give_up_line(self) -> None:
        """Want none of what is in work. Its slots come free as the workers leave them."""
        for batch in self._line:
            batch.wanted = False
        self._leaving += self._line
        self._line = deque()

    def _collect_what_left(self) -> None:
        if self._leaving:
            self._free += [batch.slot for batch in self._leaving if batch.done]
            self._leaving = [batch for batch in self._leaving if not batch.done]

    def _forget_all(self) -> None:
        """Take all slots for free, but those that the caller may use."""
        self._line, self._leaving = deque(), []
        self._free = deque(n for n in range(self.num_slots) if n not in self._held)


def _sums(spans: Sequence[Span]) -> Stages:
    """Return the seconds and counts of all spans together."""
    stages: Stages = {}
    for span in spans:
        add_stages(stages, span.stages)
    return stages
