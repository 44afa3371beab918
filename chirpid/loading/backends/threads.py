"""Fetches with threads: decoders, resampling and the front end release the GIL."""

from __future__ import annotations

import threading
import time
import weakref
from queue import SimpleQueue

import torch

from chirpid.data.datasets import BatchSource
from chirpid.loading.backends.base import Ring
from chirpid.loading.backends.flow import Part, WorkerBackend
from chirpid.storage.parallel import end_threads


class ThreadsBackend(WorkerBackend):
    """Workers that live as long as the backend; batches come in order."""

    def __init__(
        self,
        dataset: BatchSource,
        *,
        num_workers: int,
        prefetch: int,
        pin_memory: bool = False,
    ) -> None:
        num_slots = num_workers * prefetch + 2
        super().__init__(dataset, num_workers=num_workers, num_slots=num_slots)
        self.dataset = dataset
        self._ring = self._slots = Ring(dataset, num_slots=num_slots, pin_memory=pin_memory)
        self._start()

    def _start(self) -> None:
        self._team = _Team(self.dataset, self._ring)
        before = torch.get_num_threads()
        # They know nothing of the backend: one that is forgotten is collected, and that ends them.
        threads = [
            threading.Thread(
                target=self._team.work,
                args=(number,),
                name=f"chirpid-load-{number}",
                daemon=True,  # else the program would wait for them before it ends them itself
            )
            for number in range(self.num_workers)
        ]
        self._end = weakref.finalize(self, self._team.end, threads)
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                self._team.tokens.get()
        except BaseException:  # no more can be started, or Ctrl-C
            self._end()
            raise
        finally:
            # What a worker sets becomes the default of threads that start later, those of autograd
            # included: when all have set it, ours is put back.
            torch.set_num_threads(before)

    def _start_anew(self) -> None:
        self._end()
        self._start()

    def _begin(self, batch_size: int) -> None:
        assert self._end.alive, "the backend is closed"
        super()._begin(batch_size)

    def _send(self, part: Part) -> None:
        self._team.tasks.put(part)

    def _receive(self) -> None:
        tokens = self._team.tokens
        tokens.get()
        for _ in range(tokens.qsize()):  # of parts that nobody had to wait for
            tokens.get()

    def close(self) -> None:
        """End the threads."""
        self._give_up_line()
        self._end()


class _Team:
    """What the threads share."""

    def __init__(self, dataset: BatchSource, ring: Ring) -> None:
        self.dataset, self.ring = dataset, ring
        self.tasks: SimpleQueue[Part | None] = SimpleQueue()
        self.tokens: SimpleQueue[None] = SimpleQueue()
        """Word that something was done. What it was is written in the part, so that a token that
        Ctrl-C makes the caller lose is not missed."""
        self.ending = False

    def work(self, number: int) -> None:
        torch.set_num_threads(1)
        self.tokens.put(None)
        while (part := self.tasks.get()) is not None:
            if part.batch.wanted and not self.ending:
                self._make(part)
            part.worker = number
            part.done = True
            self.tokens.put(None)
            del part  # or its batch would live on until the next comes

    def _make(self, part: Part) -> None:
        try:
            part.begin_s, begin_core_s = time.perf_counter(), time.thread_time()
            rows = self.ring.slot(part.batch.slot)[part.first : part.end]
            made, part.stages = self.dataset.fetch(part.ids, rows)
            if not self.dataset.spec.in_parts:
                part.made, part.kept = made, made.ids
            part.end_s, part.core_s = time.perf_counter(), time.thread_time() - begin_core_s
        except BaseException as error:  # noqa: BLE001 - raised where the batch is asked for
            part.error = error

    def end(self, threads: list[threading.Thread]) -> None:
        self.ending = True
        for _ in threads:
            self.tasks.put(None)
        end_threads(threads)
