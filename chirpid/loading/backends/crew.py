"""The worker processes of a loader, and the pipes and the memory between them and the caller."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import select
import time
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

import torch.multiprocessing  # noqa: F401 - teaches pickle to send tensors in shared memory

from chirpid.data.datasets import BatchSource
from chirpid.errors import TrainingError
from chirpid.loading.backends.deaths import advice, how
from chirpid.loading.backends.shared import Region, SharedFile
from chirpid.loading.backends.worker import (
    BATCH_SIZE,
    CLAIMS,
    FIRST_WANTED,
    HEADER,
    PUBLISHED,
    READY,
    REGION,
    TAKEN,
    TASK_NUMBERS,
    Link,
    control_bytes,
    serve,
)
from chirpid.types import StartMethod

START_S = 120.0
_crews: weakref.WeakSet[Crew] = weakref.WeakSet()


class Crew:
    """Workers that wait for tasks. Their number stays: one that died can be started again."""

    def __init__(
        self, dataset: BatchSource, ring: SharedFile, *, num_workers: int, num_slots: int,
        method: StartMethod,
    ) -> None:  # fmt: skip
        self._dataset, self._ring, self.num_workers = dataset, ring, num_workers
        self._num_slots, self._num_tasks = num_slots, num_slots * num_workers + 1
        self._context = _context(method)
        self._forks = method is StartMethod.fork
        self._owner = os.getpid()
        self._file = SharedFile()
        self._file.grow(control_bytes(num_workers, self._num_tasks))
        self.control = memoryview(self._file.open(0, self._file.num_bytes)).cast("q")
        self._bell_in, self._bell = Pipe(duplex=False)
        self._results, self._results_out = Pipe(duplex=False)
        os.set_blocking(self._results.fileno(), False)
        self._poll = select.poll()
        self._poll.register(self._results.fileno(), select.POLLIN)
        self._processes: dict[int, BaseProcess] = {}
        self._rest = b""
        _crews.add(self)

    def start_all(self) -> None:
        """Start the workers and wait until they can work.

        Raises:
            TrainingError: one of them ended at once, or none was ready in time.
            OSError, PicklingError, AttributeError, TypeError: one could not be started.
        """
        for number in range(self.num_workers):
            self.start(number)
        end, num_ready = time.monotonic() + START_S, 0
        while num_ready < self.num_workers:
            dead = self.wait(max(0.0, end - time.monotonic()))
            num_ready += sum(what == READY for _, what, _, _ in self.results())
            if dead is None or dead:
                code = self.bury(dead[0]) if dead else None
                raise TrainingError(
                    f"A loader worker could not start ({how(code)}). {advice(code)}"
                    if dead
                    else f"The loader workers were not ready within {START_S:.0f} s."
                )

    def start(self, number: int) -> None:
        """Start a worker; it takes tasks as soon as it is ready."""
        self.control[CLAIMS + number] = -1
        link = Link(
            number=number, num_workers=self.num_workers, num_slots=self._num_slots,
            num_tasks=self._num_tasks, control=self._file, ring=self._ring, bell=self._bell_in,
            results=self._results_out, not_mine=_callers_ends() if self._forks else (),
        )  # fmt: skip
        context: Any = self._context
        process = context.Process(
            target=serve, args=(link, self._dataset), name=f"chirpid-load-{number}", daemon=True
        )
        process.start()
        self._processes[number] = process
        self._poll.register(process.sentinel, select.POLLIN)

    def publish(self, slot: int, first: int, end: int) -> int:
        """Let a worker make rows of a slot; return the number of the task."""
        control = self.control
        number = control[PUBLISHED]
        at = CLAIMS + self.num_workers + TASK_NUMBERS * (number % self._num_tasks)
        control[at], control[at + 1], control[at + 2] = slot, first, end
        control[PUBLISHED] = number + 1
        self.wake_one()
        return int(number)

    def wake_one(self) -> None:
        os.write(self._bell.fileno(), b"1")

    def want_none(self) -> None:
        """Let workers leave out all that has been published."""
        self.control[FIRST_WANTED] = self.control[PUBLISHED]

    def use(self, region: Region) -> None:
        """Tell where the slots lie. No task may be on its way."""
        self.control[REGION], self.control[BATCH_SIZE] = region.begin, region.batch_size

    def results(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (worker, what, task, more) for all that workers have told; does not wait."""
        try:
            told = self._rest + os.read(self._results.fileno(), 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while len(told) - at >= HEADER.size:
            length, worker, what, task = HEADER.unpack_from(told, at)
            if len(told) - at < length:
                break
            yield worker, what, task, told[at + HEADER.size : at + length]
            at += length
        self._rest = told[at:]

    def wait(self, timeout_s: float) -> list[int] | None:
        """Wait for results or deaths; return the workers that died, or None if nothing happened."""
        ready = {fd for fd, _ in self._poll.poll(timeout_s * 1e3)}
        if not ready:
            return None
        return [n for n, process in self._processes.items() if process.sentinel in ready]

    def bury(self, number: int) -> int | None:
        """Return how a dead worker ended."""
        process = self._processes.pop(number)
        self._poll.unregister(process.sentinel)
        process.join()
        code = process.exitcode
        process.close()
        return code

    def claimed_by(self, number: int, timeout_s: float) -> int | None:
        """Return the last task that a dead worker took and nobody else has taken since."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.lockf(self._file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > end:  # a worker was stopped with the lock in its hands
                    raise TrainingError("The loader workers do not go on.") from None
                time.sleep(1e-4)
        claims = self.control[CLAIMS : CLAIMS + self.num_workers].tolist()
        taken = self.control[TAKEN]
        fcntl.lockf(self._file.fd, fcntl.LOCK_UN)
        task = claims[number]
        others = [claims[other] for other in self._processes]
        return None if task < 0 or task >= taken or task in others else int(task)

    def end(self, patience_s: float = 1.0) -> None:
        """End the workers: those in work may finish, for a while."""
        if os.getpid() != self._owner or self._bell.closed:
            return  # a forked copy of the caller has no say in them
        self.want_none()
        self._bell.close()  # which wakes those that wait
        self._bell_in.close()
        until = time.monotonic() + patience_s
        for end_it in (None, "terminate", "kill"):
            for process in self._processes.values():
                if end_it:
                    getattr(process, end_it)()
            for process in self._processes.values():
                process.join(max(0.0, until - time.monotonic()))
            until = time.monotonic() + patience_s
        for number in list(self._processes):
            self.bury(number)
        self._results.close()
        self._results_out.close()
        self._file.close()


def _callers_ends() -> tuple[Connection, ...]:
    """Return the ends of all pipes that only this process should hold."""
    open_crews = [crew for crew in _crews if not crew._bell.closed]
    return tuple(c for crew in open_crews for c in (crew._bell, crew._results))


def _context(method: StartMethod) -> BaseContext:
    context = multiprocessing.get_context(method.value)
    if method is StartMethod.forkserver:
        # Imported once, in the process that all workers are then forked from.
        context.set_forkserver_preload(["__main__", "chirpid.loading.backends.worker"])
    return context
