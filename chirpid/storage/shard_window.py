"""The few shards that a stream has in use, and the ones that come next.

Shards are mapped, not read: their rows lie in the page cache, which the processes of a machine
share and the system takes back when memory runs short. What is bounded here is how many are mapped,
and, for shards that are brought from elsewhere, how many lie ahead of their use.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from chirpid.errors import StorageError
from chirpid.storage.caches import hold
from chirpid.storage.layout import RowLayout
from chirpid.storage.locks import FileLock
from chirpid.storage.shard_ahead import Foresight
from chirpid.storage.shards import ShardMap, shard_path
from chirpid.types import IntArray

_NUM_THREADS = 8
"""Shards that are brought at once."""


class ShardFiles(Protocol):
    """Where the shards of a set are. It can be pickled, and opened again in another process."""

    layout: RowLayout

    def path(self, shard: int) -> Path:
        """Return the local file of a shard, once it is here; StorageError if it cannot be had."""
        ...

    def is_here(self, shard: int) -> bool:
        """Return whether `path` will not wait."""
        ...

    def soon(self, shard: int) -> None:
        """Bring a shard that will be wanted; called in a thread."""
        ...

    def checksum(self, shard: int) -> int | None:
        """Return the CRC that the shard must have, if it is known."""
        ...

    def forget(self, shard: int) -> bool:
        """Remove a damaged copy; return whether there is an original to bring again."""
        ...

    def refuse(self, shard: int, fault: str) -> StorageError:
        """Return the error that names a shard, what is wrong with it, and what to do."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


class LocalShards:
    """Shards in a folder.

    Args:
        checksums: the CRC of each shard, where an index has them.
        held: keep the folder, a cache, from being removed.
        advice: what to do about a bad shard.
    """

    def __init__(
        self,
        folder: Path,
        layout: RowLayout,
        *,
        checksums: Sequence[int] | None = None,
        held: bool = False,
        advice: str = "Remove it and run again.",
    ) -> None:
        self.folder, self.layout, self.checksums = folder, layout, checksums
        self.held, self.advice = held, advice
        self._use: FileLock | None = hold(folder) if held else None

    def path(self, shard: int) -> Path:
        return shard_path(self.folder, shard)

    def is_here(self, shard: int) -> bool:
        return True

    def soon(self, shard: int) -> None:
        # The disk reads it from start to end while the model computes.
        if not hasattr(os, "posix_fadvise"):
            return
        handle = os.open(self.path(shard), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(handle)

    def checksum(self, shard: int) -> int | None:
        return None if self.checksums is None else self.checksums[shard]

    def forget(self, shard: int) -> bool:
        return False

    def refuse(self, shard: int, fault: str) -> StorageError:
        return refusal(str(self.path(shard)), self.layout, shard, fault, self.advice)

    def close(self) -> None:
        if self._use:
            self._use.close()
            self._use = None

    def __reduce__(self) -> tuple[object, ...]:
        return _local_again, (self.folder, self.layout, self.checksums, self.held, self.advice)


def _local_again(
    folder: Path, layout: RowLayout, checksums: Sequence[int] | None, held: bool, advice: str
) -> LocalShards:
    return LocalShards(folder, layout, checksums=checksums, held=held, advice=advice)


def refusal(name: str, layout: RowLayout, shard: int, fault: str, advice: str) -> StorageError:
    """Return the error about a shard: its place, what is wrong, the segments it held."""
    first, end = layout.span(shard)
    return StorageError(f"{name} is {fault}. It holds segments {first} to {end - 1}. {advice}")


class ShardWindow:
    """Maps of the shards in use, opened when they are wanted and closed in turn.

    Args:
        kept: shards that are mapped at most, beside those of the batches that are being fetched.
        ahead: shards that are brought before they are wanted, at most.
    """

    def __init__(self, files: ShardFiles, *, kept: int, ahead: int = 0) -> None:
        self.files, self.kept, self.ahead = files, max(1, kept), ahead
        self.num_opened = 0
        self._maps: OrderedDict[int, ShardMap] = OrderedDict()
        self._lock = threading.Lock()
        self._foresight: Foresight | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._threads_of = -1
        self._coming: dict[int, Future[None]] = {}

    def __len__(self) -> int:
        return len(self._maps)

    def take(self, shards: Sequence[int]) -> tuple[dict[int, ShardMap], set[int]]:
        """Return the maps of shards, and which of them had to be opened.

        Raises:
            StorageError: a shard is missing, damaged or out of reach; names it and its segments.
        """
        self._bring(shards)
        found, opened = {}, set()
        with self._lock:
            for shard in shards:
                if shard not in self._maps:
                    self._maps[shard] = self._open(shard)
                    self.num_opened += 1
                    opened.add(shard)
                self._maps.move_to_end(shard)
                found[shard] = self._maps[shard]
            while len(self._maps) > self.kept:
                self._maps.popitem(last=False)
        return found, opened

    def check(self, shard: int, opened: ShardMap, rows: IntArray) -> ShardMap:
        """Return the map of a shard with `rows` compared with their checksums.

        A damaged local copy is brought again, once; the map that is returned is then another.

        Raises:
            StorageError: a row is damaged.
        """
        try:
            opened.check(rows)
            return opened
        except ValueError as error:
            if not self.files.forget(shard):
                raise self.files.refuse(shard, str(error)) from error
        with self._lock:
            self._maps[shard] = again = self._open(shard)
        try:
            again.check(rows)
        except ValueError as error:
            raise self.files.refuse(shard, str(error)) from error
        return again

    def _open(self, shard: int) -> ShardMap:
        files = self.files
        for attempt in (0, 1):
            try:
                return ShardMap(files.path(shard), files.layout, shard, files.checksum(shard))
            except FileNotFoundError as error:
                if attempt or files.is_here(shard):
                    raise files.refuse(shard, "missing") from error
            except OSError as error:
                raise files.refuse(shard, f"not readable ({error.strerror})") from error
            except ValueError as error:
                if attempt or not files.forget(shard):
                    raise files.refuse(shard, str(error)) from error
        raise AssertionError("the second attempt returns or raises")

    def _bring(self, shards: Sequence[int]) -> None:
        """Wait until all are here; those that are not come at the same time."""
        away = [s for s in shards if s not in self._maps and not self.files.is_here(s)]
        if len(away) == 1:
            self.files.path(away[0])
        for coming in [self._come(shard) for shard in away] if len(away) > 1 else []:
            coming.result()

    def _come(self, shard: int) -> Future[None]:
        with self._lock:
            coming = self._coming.get(shard)
            if coming is None or coming.done():
                self._coming = {s: f for s, f in self._coming.items() if not f.done()}
                coming = self._coming[shard] = self._pool().submit(self.files.soon, shard)
        return coming

    def expect(self, batches: Sequence[IntArray]) -> None:
        """Take the batches that will be fetched, in their order."""
        rows = self.files.layout.chunk_rows
        self._foresight = None
        if self.ahead and len(batches):
            self._foresight = Foresight(batches, rows, kept=self.kept, ahead=self.ahead)

    def reached(self, turn: int) -> None:
        """Take note that batch number `turn` of those expected is in use."""
        foresight = self._foresight
        if foresight is not None and turn >= foresight.again_at:
            foresight.again_at = math.inf  # until the thread has looked
            with self._lock:
                self._pool().submit(self._look_ahead, foresight, turn)

    def _look_ahead(self, foresight: Foresight, turn: int) -> None:
        # An error here is met again, and told, when the shard is wanted.
        for shard in foresight.next(turn):
            self._come(shard)

    def _pool(self) -> ThreadPoolExecutor:
        # A forked process has the pool and none of its threads.
        if self._threads is None or self._threads_of != os.getpid():
            self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="chirpid-shards")
            self._threads_of, self._coming = os.getpid(), {}
        return self._threads

    def close(self) -> None:
        """Close all maps and end the threads."""
        self._foresight = None
        if self._threads is not None and self._threads_of == os.getpid():
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._threads = None
        self._maps.clear()
        self.files.close()
