"""What a worker process does: takes parts of batches and makes them in their slots.

Tasks lie in shared memory. A byte in a pipe wakes one worker for each; which task it takes, it
decides under a lock of the file, which the system gives back if the worker is killed. So the
workers share the work among themselves while the caller computes, and a task is never lost: either
it is still to be taken, or it is written which worker took it.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import select
import signal
import struct
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

import chirpid.errors
from chirpid.data.datasets import BatchSource
from chirpid.data.general import generators
from chirpid.data.general.loose import NoRoomError
from chirpid.data.kept import Stages
from chirpid.errors import ChirpError
from chirpid.loading.backends.shared import Region, SharedFile

# Whole numbers in the control file: what the caller writes, what workers write under the lock, ...
PUBLISHED, FIRST_WANTED, REGION, BATCH_SIZE, TAKEN, CLAIMS = range(6)
"""... then from CLAIMS on the last task that each worker took, then the tasks in turn."""
TASK_NUMBERS = 3
"""A task: its slot, and the first and the last-but-one row of the part."""

HEADER = struct.Struct("<HHBq")
"""A result: its bytes, the worker, what it is, and the number of the task."""
READY, NAMED, MADE, LEFT_OUT, FAILED, TOO_LARGE = range(6)
"""Made comes with when fetching began and ended, by `time.perf_counter`, its core-seconds, and what
was spent in each stage; the names of the stages, in that order, are told before, and again when
they change. Too large, of a batch that no slot holds, comes with how many slots it would fill."""
SHARE = struct.Struct("<d")


@dataclass(slots=True)
class Link:
    """What a worker gets as it starts."""

    number: int
    num_workers: int
    num_slots: int
    num_tasks: int
    """Tasks that there is room for."""
    control: SharedFile
    ring: SharedFile
    bell: Connection
    results: Connection
    not_mine: tuple[Connection, ...] = ()
    """The caller's ends of pipes, which a forked worker has too: it would never see them closed."""


def control_bytes(num_workers: int, num_tasks: int) -> int:
    return 8 * (CLAIMS + num_workers + TASK_NUMBERS * num_tasks)


@contextmanager
def locked(file: SharedFile) -> Iterator[None]:
    fcntl.lockf(file.fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(file.fd, fcntl.LOCK_UN)


def serve(link: Link, dataset: BatchSource) -> None:
    """Make parts of batches until the caller is gone."""
    # Ctrl-C reaches the whole process group; the caller ends its workers when it is ready.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for connection in link.not_mine:
        connection.close()
    torch.set_num_threads(1)
    # Forked workers have the generators of one process. Who takes which task is left to chance, so
    # what a dataset draws without being seeded for it is, too; but never twice the same.
    generators.seed_for(int.from_bytes(os.urandom(8), "little"))
    with suppress(BrokenPipeError):  # the caller is gone
        _Worker(link, dataset).work()


class _Worker:
    def __init__(self, link: Link, dataset: BatchSource) -> None:
        self.link, self.dataset = link, dataset
        num_bytes = control_bytes(link.num_workers, link.num_tasks)
        self.control = memoryview(link.control.open(0, num_bytes)).cast("q")
        self.region: Region | None = None
        self.stages: tuple[str, ...] = ()
        self.spec = dataset.spec
        self.results = link.results.fileno()

    def work(self) -> None:
        self._tell(READY, -1)
        bell = self.link.bell.fileno()
        while os.read(bell, 1):
            task = self._take()
            if task is None:
                continue  # the byte was for one that was killed before it could take its task
            number, slot, first, end = task
            if number < self.control[FIRST_WANTED]:
                self._tell(LEFT_OUT, number)
            else:
                self._make(number, slot, first, end)

    def _take(self) -> tuple[int, int, int, int] | None:
        control, link = self.control, self.link
        with locked(link.control):
            number = control[TAKEN]
            if number == control[PUBLISHED]:
                return None
            control[CLAIMS + link.number] = number
            at = CLAIMS + link.num_workers + TASK_NUMBERS * (number % link.num_tasks)
            slot, first, end = control[at : at + TASK_NUMBERS]
            control[TAKEN] = number + 1
        return number, slot, first, end

    def _make(self, number: int, slot: int, first: int, end: int) -> None:
        region = self._region()
        try:
            ids = region.ids[slot][first:end].copy()
            begin_s, begin_core_s = time.perf_counter(), time.thread_time()
            made, stages = self.dataset.fetch(ids, region.slots[slot][first:end])
            if not self.spec.in_parts and made.ids is not None:
                region.ids[slot][first : first + len(made)] = made.ids
            core_s = time.thread_time() - begin_core_s
            times = pack_times(begin_s, time.perf_counter(), core_s, stages)
        except NoRoomError as error:
            self._tell(TOO_LARGE, number, SHARE.pack(error.share))
        except Exception as error:  # noqa: BLE001 - it is raised where the batch is asked for
            self._tell(FAILED, number, _packed(error))
        else:
            if self.stages != (names := tuple(stages)):
                self.stages = names
                self._tell(NAMED, number, "\n".join(names).encode())
            self._tell(MADE, number, times)

    def _region(self) -> Region:
        begin, batch_size = self.control[REGION], self.control[BATCH_SIZE]
        if self.region is None or (self.region.begin, self.region.batch_size) != (
            begin,
            batch_size,
        ):
            self.region = Region(
                self.link.ring, begin, batch_size=batch_size, spec=self.spec,
                num_slots=self.link.num_slots,
            )  # fmt: skip
        return self.region

    def _tell(self, what: int, number: int, more: bytes = b"") -> None:
        # In one piece: the system never mixes what several write, nor keeps half of it.
        head = HEADER.pack(HEADER.size + len(more), self.link.number, what, number)
        os.write(self.results, head + more)


def pack_times(begin_s: float, end_s: float, core_s: float, stages: Stages) -> bytes:
    """Return what comes with MADE."""
    return struct.pack(f"<{3 + len(stages)}d", begin_s, end_s, core_s, *stages.values())


def unpack_times(packed: bytes, names: Sequence[str]) -> tuple[float, float, float, Stages]:
    """Return when a part was begun and ended, its core-seconds, and what each stage took."""
    begin_s, end_s, core_s, *amounts = struct.unpack(f"<{len(packed) // 8}d", packed)
    return begin_s, end_s, core_s, dict(zip(names, amounts, strict=True))


def unpack_names(packed: bytes) -> tuple[str, ...]:
    """Return what comes with NAMED."""
    return tuple(packed.decode().split("\n")) if packed else ()


def _packed(error: Exception) -> bytes:
    """Return an error in few enough bytes to be written at once: its kind, message, traceback."""
    kind = next((c.__name__ for c in type(error).__mro__ if c.__module__ == ChirpError.__module__),
                type(error).__name__)  # fmt: skip
    message, trace = str(error), "".join(traceback.format_exception(error))
    while True:
        packed = pickle.dumps((kind, isinstance(error, ChirpError), message, trace))
        if HEADER.size + len(packed) <= select.PIPE_BUF:
            return packed
        if trace:
            trace = trace[-(len(trace) // 2) :] if len(trace) > 1 else ""
        else:
            message = message[: len(message) // 2] + "…"


def unpacked(packed: bytes) -> ChirpError:
    """Return the error that a worker met, as one that users are shown."""
    kind, is_ours, message, trace = pickle.loads(packed)
    if is_ours:
        # By its class in chirpid.errors: one of its own may take more than a message.
        made: Any = getattr(chirpid.errors, kind)(message)
        error: ChirpError = made
    else:
        first = (message.splitlines() or [""])[0]
        error = chirpid.errors.TrainingError(
            f"A batch could not be made in a loader worker: {kind}: {first}"
        )
    error.__cause__ = WorkerTraceback(trace)
    return error


class WorkerTraceback(Exception):  # noqa: N818 - it is what the error came from, as text
    """The traceback of an error in a worker, shown where errors are shown with their causes."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"
