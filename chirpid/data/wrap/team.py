"""Threads that make things for one caller, and end when it is done, stopped or forgotten."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import torch

from chirpid.storage.parallel import end_threads


class Task:
    """Something to be made, and what came of it."""

    __slots__ = ("done", "error", "make", "num_bytes", "result")

    def __init__(self, make: Callable[[], Any] | None, error: BaseException | None = None) -> None:
        self.make, self.error = make, error
        self.result: Any = None
        self.num_bytes = 0
        self.done = make is None


class Team:
    """Threads at work on tasks, first come, first served.

    Args:
        size_of: returns the bytes of a result; without, they are not counted.
    """

    def __init__(self, num_threads: int, size_of: Callable[[Any], int] | None = None) -> None:
        work = _Work(size_of)
        before = torch.get_num_threads()
        # They know nothing of the team: one that is forgotten is collected, and that ends them.
        threads = [
            threading.Thread(
                target=work.run,
                name=f"chirpid-ahead-{number}",
                daemon=True,  # else the program would wait for them before it ends them itself
            )
            for number in range(num_threads)
        ]
        self._work = work
        self.close = weakref.finalize(self, work.end, threads)
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                work.tokens.get()
        except BaseException:  # no more can be started, or Ctrl-C
            self.close()
            raise
        finally:
            # What a thread sets becomes the default of threads that start later, those of autograd
            # included: when all have set it, ours is put back.
            torch.set_num_threads(before)

    def begin(self, task: Task) -> None:
        """Have a task done as soon as a thread is free."""
        self._work.tasks.put(task)

    def wait(self, task: Task) -> None:
        """Return when a task is done."""
        tokens = self._work.tokens
        while not task.done:
            tokens.get()
        for _ in range(tokens.qsize()):  # of tasks that nobody had to wait for
            tokens.get()


class _Work:
    """What the threads share."""

    def __init__(self, size_of: Callable[[Any], int] | None) -> None:
        self.size_of = size_of
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.tokens: SimpleQueue[None] = SimpleQueue()
        """Word that something was done. What it was is written in the task, so that a token that
        Ctrl-C makes the caller lose is not missed."""
        self.is_ending = False

    def run(self) -> None:
        torch.set_num_threads(1)
        self.tokens.put(None)
        while (task := self.tasks.get()) is not None:
            self._do(task)
            task.done = True
            self.tokens.put(None)
            del task  # or its result would live on until the next comes

    def _do(self, task: Task) -> None:
        make, task.make = task.make, None
        if make is None or self.is_ending:
            return
        try:
            task.result = make()
            if self.size_of is not None:
                task.num_bytes = self.size_of(task.result)
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            task.error = error

    def end(self, threads: list[threading.Thread]) -> None:
        self.is_ending = True
        for _ in threads:
            self.tasks.put(None)
        end_threads(threads)
