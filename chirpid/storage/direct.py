"""Rows from the disk past the page cache (O_DIRECT), several requests at once.

For sets larger than RAM, where pages would only drive out one another and those of other programs.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chirpid.errors import StorageError
from chirpid.storage.layout import RowLayout
from chirpid.storage.parallel import wait_for_exit
from chirpid.types import IntArray

ALIGNMENT = 4096
"""Offsets, sizes and addresses of direct reads are multiples of a disk's block: 512 or 4096."""
REQUEST_BYTES = 2**19
"""Neighbouring rows are read in one request up to this size."""
NUM_REQUESTS = 8
"""Requests in flight: one alone leaves a solid-state disk idle half of the time."""

Fill = Callable[[Tensor, IntArray, IntArray], None]
"""Called with (rows [n, *shape] as kept, which of them, their places in the batch), from several
threads; the rows are valid during the call alone."""


class NoDirectError(StorageError):
    """The file system does not read past the page cache."""


@dataclass(frozen=True, slots=True)
class Request:
    """One read, and the rows of the batch that are in it."""

    first: int
    """First row."""
    end: int
    """The row after the last."""
    ids: IntArray
    places: IntArray
    """Where in the batch they go."""


def requests_of(ids: IntArray, row_bytes: int, *, at_most: int = REQUEST_BYTES) -> list[Request]:
    """Return the reads of a batch in the order of the file, neighbours together.

    Rows are neighbours where no block lies between them. A row larger than `at_most` is one read.
    """
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    sorted_ids = ordered.tolist()
    requests: list[Request] = []
    begin = 0
    for at in range(1, len(sorted_ids) + 1):
        if at < len(sorted_ids) and _is_one(sorted_ids, begin, at, row_bytes, at_most):
            continue
        part = slice(begin, at)
        requests.append(
            Request(sorted_ids[begin], sorted_ids[at - 1] + 1, ordered[part], order[part])
        )
        begin = at
    return requests


def _is_one(ids: list[int], begin: int, at: int, row_bytes: int, at_most: int) -> bool:
    """Return whether row `ids[at]` goes into the request that begins with `ids[begin]`."""
    end, row = ids[at - 1] + 1, ids[at]
    is_near = row * row_bytes // ALIGNMENT * ALIGNMENT <= _up(end * row_bytes)
    is_small = (row + 1 - ids[begin]) * row_bytes <= at_most
    return row < end or (is_near and is_small)


def _up(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


class DirectRows:
    """Reads rows of a store's file by their ids. May be used by many threads at once.

    Raises:
        NoDirectError: the file system does not read past its cache.
        StorageError: the file cannot be read.
    """

    def __init__(self, path: Path, layout: RowLayout) -> None:
        self.path, self.layout = path, layout
        self._handle = _open(path)
        self._local = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        self._pool_pid = 0
        self._native_ids: set[int] = set()
        self._lock = threading.Lock()

    def read(self, ids: IntArray, fill: Fill) -> None:
        """Read rows and give them to `fill`, several requests at a time.

        Raises:
            StorageError: the disk fails, or the file is shorter than it was.
        """
        todo = deque(requests_of(ids, self.layout.row_bytes))
        helpers: list[Future[None]] = []
        if len(todo) > 1:
            pool = self._threads()
            helpers = [
                pool.submit(self._work, todo, fill) for _ in range(min(len(todo), NUM_REQUESTS) - 1)
            ]
        try:
            self._work(todo, fill)
        finally:
            errors = [helper.exception() for helper in helpers]  # waits: they write into the batch
        for error in errors:
            if error is not None:
                raise error

    def _work(self, todo: deque[Request], fill: Fill) -> None:
        try:
            while True:
                try:
                    request = todo.popleft()
                except IndexError:
                    return
                fill(self._rows(request), request.ids - request.first, request.places)
        finally:
            todo.clear()  # if one failed, the batch is lost, and its rest is not worth reading

    def _rows(self, request: Request) -> Tensor:
        """Return the rows of a request, in a buffer of this thread."""
        row_bytes = self.layout.row_bytes
        wanted, end = request.first * row_bytes, request.end * row_bytes
        begin = wanted // ALIGNMENT * ALIGNMENT
        buffer = self._buffer(_up(end) - begin)
        self._read_into(buffer, begin, end)
        kept = np.frombuffer(buffer, dtype=np.uint8, count=end - wanted, offset=wanted - begin)
        rows = torch.from_numpy(kept).view(self.layout.torch_dtype)
        return rows.view(request.end - request.first, *self.layout.shape)

    def _read_into(self, buffer: mmap.mmap, begin: int, end: int) -> None:
        """Read bytes begin..end-1 of the file, and the rest of the last block if there is one."""
        at, stop = begin, _up(end)
        with memoryview(buffer) as view:
            while at < end:
                try:
                    count = os.preadv(self._handle, [view[at - begin : stop - begin]], at)
                except OSError as error:
                    raise StorageError(f"Cannot read {self.path}: {error.strerror}.") from error
                at += count
                if at < end and (count == 0 or count % ALIGNMENT):
                    raise StorageError(f"{self.path} is cut short. See: chirpid cache verify.")

    def _buffer(self, size: int) -> mmap.mmap:
        # Anonymous maps begin at a page, as direct reads want it. Private: forked processes would
        # else read into one and the same.
        buffer: mmap.mmap | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < size:
            size = max(size, REQUEST_BYTES + 2 * ALIGNMENT)
            private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
            buffer = self._local.buffer = mmap.mmap(-1, size, **private)
        return buffer

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._pool_pid != os.getpid():  # threads do not survive fork
                self._native_ids.clear()
                self._pool = ThreadPoolExecutor(
                    NUM_REQUESTS - 1,
                    thread_name_prefix="chirpid-read",
                    initializer=lambda: self._native_ids.add(threading.get_native_id()),
                )
                self._pool_pid = os.getpid()
            return self._pool

    def close(self) -> None:
        """End the threads and release the file."""
        if self._pool is not None and self._pool_pid == os.getpid():
            self._pool.shutdown(wait=True)
            wait_for_exit(self._native_ids)
        self._pool = None
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _open(path: Path) -> int:
    """Return a handle that reads past the page cache, after a first read that shows it."""
    direct = getattr(os, "O_DIRECT", None)
    if direct is None:
        raise NoDirectError("this system has no O_DIRECT")
    handle = -1
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | direct)
        with mmap.mmap(-1, ALIGNMENT) as block, memoryview(block) as view:
            os.preadv(handle, [view], 0)
        return handle
    except OSError as error:
        if handle >= 0:
            os.close(handle)
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise NoDirectError(f"the file system of {path.parent} has no O_DIRECT") from error
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
