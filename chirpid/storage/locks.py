"""Locks between processes that end with the process that held them, however it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


class FileLock:
    """An advisory lock on a file: shared by readers, or exclusive."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def acquire(self, *, shared: bool = False, wait: bool = True) -> bool:
        """Take the lock; return whether it was had. Only `wait=False` can return False."""
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self._handle, how if wait else how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Release the lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


@contextlib.contextmanager
def exclusive(path: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock on `path`; `on_wait` is called once if another process has it."""
    lock = FileLock(path)
    try:
        if not lock.acquire(wait=False):
            if on_wait:
                on_wait()
            lock.acquire()
        yield
    finally:
        lock.close()
