"""Fetches with worker processes: for work that holds Python's lock."""

from __future__ import annotations

import logging
import math
import multiprocessing
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import numpy as np

from chirpid.data.datasets import BatchSource
from chirpid.data.general.loose import LooseSlot
from chirpid.data.general.source import ItemSource
from chirpid.errors import BudgetError, TrainingError
from chirpid.loading.backends import deaths
from chirpid.loading.backends.crew import Crew
from chirpid.loading.backends.flow import Part, WorkerBackend
from chirpid.loading.backends.shared import SharedRing
from chirpid.loading.backends.worker import (
    FAILED,
    MADE,
    NAMED,
    READY,
    SHARE,
    TOO_LARGE,
    unpack_names,
    unpack_times,
    unpacked,
)
from chirpid.types import Batch, IntArray, StartMethod

Say = Callable[[str], None]
DEATHS_PER_BATCH = 2
"""Workers that may die of one batch before it is taken for the cause."""
DEATHS_PER_PASS = 8
"""Workers that are replaced in a pass, for each that there are."""


class ProcessesBackend(WorkerBackend):
    """Workers that live as long as the backend, one BLAS thread each.

    They write float32 batches into slots in shared memory, where the caller reads them. A worker
    that dies is replaced, and what it was making is made again.
    """

    def __init__(
        self,
        dataset: BatchSource,
        *,
        num_workers: int,
        prefetch: int,
        pin_memory: bool = False,
        persistent: bool = True,
        start_method: StartMethod = StartMethod.forkserver,
        timeout_s: float = 120.0,
        say: Say | None = None,
    ) -> None:
        num_slots = num_workers * prefetch + 2
        super().__init__(dataset, num_workers=num_workers, num_slots=num_slots)
        self._dataset: BatchSource | None = dataset
        self._persistent, self._method, self._timeout_s = persistent, start_method, timeout_s
        self._say = say or logging.getLogger(__name__).warning
        self._ring = self._slots = SharedRing(
            dataset.spec, num_slots=num_slots, pin_memory=pin_memory, say=self._say
        )
        self._crew: Crew | None = None
        self._parts: dict[int | None, Part] = {}
        """What is in work, by the number of its task."""
        self._stages: dict[int, tuple[str, ...]] = {}
        """What each worker calls the stages that it tells the seconds of."""
        self._num_deaths = 0
        self._least_rows = 0
        if persistent:
            # Now, so that a system without room for them is found where threads can still be had.
            self._ready()

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        passing = super().run(batches)
        return passing if self._persistent else self._and_end(passing)

    def _and_end(self, passing: Iterator[Batch]) -> Iterator[Batch]:
        try:
            yield from passing
        finally:
            self._start_anew()

    def _ready(self) -> Crew:
        if self._crew is None:
            assert self._dataset is not None, "the backend is closed"
            crew = Crew(
                self._dataset, self._ring.file, num_workers=self.num_workers,
                num_slots=self.num_slots, method=self._method,
            )  # fmt: skip
            end = weakref.finalize(self, crew.end)
            with ExitStack() as undo:
                undo.callback(end)
                crew.start_all()
                undo.pop_all()
            self._crew, self._end_crew = crew, end
        return self._crew

    def _begin(self, batch_size: int) -> None:
        crew = self._ready()
        self._num_deaths = 0
        region = self._ring.region
        if region is None or max(batch_size, self._least_rows) > region.batch_size:
            while self._parts:  # workers may still write where the slots are now
                self._receive()
        try:
            super()._begin(max(batch_size, self._least_rows))
        except BudgetError:
            if batch_size >= self._least_rows:
                raise
            # No room for slots of the largest batch: the caller goes on making what is so large.
            self._least_rows = 0
            super()._begin(batch_size)
        assert self._ring.region is not None
        crew.use(self._ring.region)

    def _send(self, part: Part) -> None:
        crew = self._ready()
        ids = self._ring.ids(part.batch.slot)
        np.copyto(ids[part.first : part.end], part.ids)
        self._parts[crew.publish(part.batch.slot, part.first, part.end)] = part

    def _receive(self) -> None:
        crew = self._ready()
        if self._note(crew):
            return
        dead = crew.wait(self._timeout_s)
        if dead is None:
            raise TrainingError(
                "No batch came from the loader workers within loader.timeout_s. "
                "Raise it, or use loader.backend=threads."
            )
        for number in dead:
            self._replace(crew, number)

    def _note(self, crew: Crew) -> bool:
        """Write down what workers have told; return whether they had."""
        told = False
        for worker, what, task, more in crew.results():
            told = True
            if what in (READY, NAMED):  # a new worker has named nothing yet
                self._stages[worker] = unpack_names(more)
                continue
            part = self._parts.pop(task)
            if what == MADE:
                names = self._stages.get(worker, ())
                part.begin_s, part.end_s, part.core_s, part.stages = unpack_times(more, names)
                self._look_inside(part)
            elif what == FAILED:
                part.error = unpacked(more)
            elif what == TOO_LARGE:
                self._make_here(part, *SHARE.unpack(more))
            part.worker, part.done = worker, True
        return told

    def _look_inside(self, part: Part) -> None:
        """Take what a worker had to say of the rows themselves."""
        slot = part.batch.slot
        rows = self._ring.slot(slot)
        if isinstance(rows, LooseSlot):
            part.made = rows.read()
            part.kept = part.made.ids
        elif num_skipped := int(part.stages.get("num_skipped", 0)):
            part.kept = self._ring.ids(slot)[: len(part.ids) - num_skipped].copy()

    def _make_here(self, part: Part, share: float) -> None:
        """Make what is too large for a slot in the caller, and have larger slots in the next pass.

        Args:
            share: how many slots it would fill.
        """
        region = self._ring.region
        assert self._dataset is not None
        assert region is not None
        self._least_rows = max(self._least_rows, math.ceil(1.5 * share * region.batch_size))
        part.error, part.begin_s = None, time.perf_counter()
        try:
            part.made, part.stages = self._dataset.fetch(part.ids)
            part.kept = part.made.ids
        except Exception as error:  # noqa: BLE001 - it is raised where the batch is asked for
            part.error = error
        part.end_s = time.perf_counter()

    def _replace(self, crew: Crew, number: int) -> None:
        """Start a worker in the place of a dead one, and have its part made again.

        Raises:
            TrainingError: too many have died.
        """
        code = crew.bury(number)
        while self._note(crew):
            pass
        part = self._parts.pop(crew.claimed_by(number, self._timeout_s), None)
        self._num_deaths += 1
        if self._num_deaths > DEATHS_PER_PASS * self.num_workers:
            raise deaths.too_many(self._num_deaths, code)
        crew.start(number)
        crew.wake_one()  # it may have been woken for a task that it did not live to take
        if part is not None:
            part.num_deaths += 1
            if part.num_deaths >= DEATHS_PER_BATCH:
                part.error = deaths.twice(self._rows_of(part), code)
            if part.error is None and part.batch.wanted:
                self._send(part)
            else:
                part.done = True
        if part is None or part.error is None:
            self._say(deaths.replaced(number, code, had_work=part is not None))

    def _rows_of(self, part: Part) -> IntArray:
        """Return the rows of a part as its dataset counts them, for messages."""
        dataset = self._dataset
        return dataset.rows_of(part.ids) if isinstance(dataset, ItemSource) else part.ids

    def _give_up_line(self) -> None:
        super()._give_up_line()
        if self._crew is not None:
            self._crew.want_none()

    def _start_anew(self) -> None:
        """End the workers; the next pass starts others."""
        if self._crew is not None:
            self._end_crew()
        self._crew = None
        self._parts, self._stages = {}, {}
        self._forget_all()

    def close(self) -> None:
        """End the processes."""
        self._start_anew()
        if self._dataset is not None:
            self._ring.close()
        self._dataset = None


def workers_can_start(start_method: StartMethod) -> str | None:
    """Return why worker processes cannot start here, or None."""
    if multiprocessing.current_process().daemon:
        return "this process is a worker itself, and may start none"
    if start_method.value not in multiprocessing.get_all_start_methods():
        return f"this system has no start method {start_method.value}"
    return None
