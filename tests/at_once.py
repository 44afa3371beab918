"""Threads that do the same at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable


def at_once(work: Callable[[int], object], num_threads: int) -> None:
    """Let each of some threads do the work with its own number, from 0, and wait for all.

    What one of them raises fails the test: pytest warns of it, and warnings are errors.
    """
    threads = [threading.Thread(target=work, args=(number,)) for number in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
