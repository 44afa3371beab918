"""Locks between processes that end with the process that held them, however it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from chirpid.storage.atomic import storage_error

_ATTEMPTS = 100


class FileLock:
    """An advisory lock on a file: shared by readers, or exclusive.

    Raises:
        StorageError: the file cannot be made, or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1
        self._open()

    def acquire(self, *, shared: bool = False, wait: bool = True) -> bool:
        """Take the lock; return whether it was had. Only `wait=False` can return False."""
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        while True:
            try:
                if self._handle < 0:
                    self._open()
                fcntl.flock(self._handle, how if wait else how | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError as error:
                raise storage_error(error, self.path) from error
            if self._is_what_others_open():
                return True
            # The file was removed while this waited: a lock on it keeps nobody out.
            self.close()

    def touch(self) -> None:
        """Set the time of the file to now."""
        os.utime(self._handle)

    def close(self) -> None:
        """Release the lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    self._handle = os.open(self.path, flags, 0o644)
                    return
                # Another process removed the folder meanwhile: after mkdir, or in the midst of it.
                except (FileNotFoundError, FileExistsError):
                    if attempt == _ATTEMPTS - 1:
                        raise
        except OSError as error:
            raise storage_error(error, self.path) from error

    def _is_what_others_open(self) -> bool:
        try:
            there, held = os.stat(self.path), os.fstat(self._handle)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


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
