"""Work in several threads at the same time, or in a process of its own."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def at_once(work: Callable[[int], object], num_threads: int) -> None:
    """Let each of some threads do the work with its own number, from 0, and wait for all.

    What one of them raises fails the test: pytest warns of it, and warnings are errors.
    """
    threads = [threading.Thread(target=work, args=(number,)) for number in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_child(work: Callable[[], Result]) -> Result:
    """Return what work returns in a forked process, which may start no processes of its own."""
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    child = context.Process(target=lambda: told.put(work()), daemon=True)
    child.start()
    child.join(60)
    assert not told.empty(), "it ended by an error"
    result: Result = told.get()
    return result
