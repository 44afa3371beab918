"""Shards of a set that is elsewhere: brought to a folder of this machine, the oldest ones dropped.

All processes that use the set share the folder: a shard is brought once, and mapped by all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from chirpid.errors import StorageError
from chirpid.storage.atomic import storage_error
from chirpid.storage.caches import hold
from chirpid.storage.layout import RowLayout
from chirpid.storage.locks import FileLock, exclusive
from chirpid.storage.remote import MissingFileError, Place
from chirpid.storage.shard_window import refusal
from chirpid.storage.shards import Bytes, find_damage, shard_bytes, shard_name, shard_path

_NUM_LOCKS = 64
_STALE_S = 3600.0
"""A temporary file that nobody has written to for so long is what a killed process left."""
ADVICE = "Write the set again with chirpid shard: what is whole is kept."


class RemoteShards:
    """Shards at a place, with copies in a folder.

    Args:
        checksums: the CRC of each shard.
        folder: where copies are kept while this is open; it may be removed afterwards.
        budget_bytes: the copies take no more, beside those that are on their way.
    """

    def __init__(
        self,
        place: Place,
        layout: RowLayout,
        checksums: Sequence[int],
        *,
        folder: Path,
        budget_bytes: int,
    ) -> None:
        self.place, self.layout, self.checksums = place, layout, checksums
        self.folder, self.budget_bytes = folder, budget_bytes
        self._use: FileLock | None = hold(folder)

    def path(self, shard: int) -> Path:
        path = shard_path(self.folder, shard)
        if not self._used_now(path, shard):
            # One process brings it, the others wait: at most one copy comes over the network.
            with exclusive(self.folder / f"bring-{shard % _NUM_LOCKS:02d}.lock"):
                if not self._used_now(path, shard):
                    self._keep(path, self._read(shard))
        return path

    def is_here(self, shard: int) -> bool:
        try:
            size = shard_path(self.folder, shard).stat().st_size
        except OSError:
            return False
        return size == shard_bytes(self.layout, shard)

    def soon(self, shard: int) -> None:
        self.path(shard)

    def checksum(self, shard: int) -> int | None:
        return self.checksums[shard]

    def forget(self, shard: int) -> bool:
        shard_path(self.folder, shard).unlink(missing_ok=True)
        return True

    def refuse(self, shard: int, fault: str) -> StorageError:
        return refusal(self.place.where(shard_name(shard)), self.layout, shard, fault, ADVICE)

    def close(self) -> None:
        if self._use:
            self._use.close()
            self._use = None

    def _used_now(self, path: Path, shard: int) -> bool:
        if not self.is_here(shard):
            return False
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return True
        return False

    def _read(self, shard: int) -> Bytes:
        def check(data: Bytes) -> str:
            return find_damage(data, self.layout, shard, self.checksums[shard])

        try:
            return self.place.read(shard_name(shard), check)
        except MissingFileError as error:
            raise self.refuse(shard, "missing") from error
        except StorageError as error:
            first, end = self.layout.span(shard)
            raise StorageError(
                f"{error} It holds segments {first} to {end - 1}. Run with resume=auto to go on "
                "once it can be read."
            ) from error

    def _keep(self, path: Path, data: Bytes) -> None:
        """Write a copy; not synced: after a power cut its checksums tell, and it comes again."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
        try:
            with open(temporary, "xb") as handle:
                handle.write(data.data)
            with exclusive(self.folder / "room.lock"):
                self._make_room(len(data))
                os.replace(temporary, path)
        except OSError as error:
            raise storage_error(error, path) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, num_bytes: int) -> None:
        """Drop the copies used longest ago. A process that has one mapped keeps its pages."""
        copies = []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):
                state = entry.stat()
                if entry.name.startswith("shard-"):
                    copies.append((state.st_mtime_ns, state.st_size, entry.path))
                elif entry.name.endswith(".tmp") and time.time() - state.st_mtime > _STALE_S:
                    os.unlink(entry.path)
        total = sum(size for _, size, _ in copies)
        for _, size, path in sorted(copies):
            if total + num_bytes <= self.budget_bytes:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self.place, self.layout, self.checksums, self.folder, self.budget_bytes)


def _again(
    place: Place, layout: RowLayout, checksums: Sequence[int], folder: Path, budget_bytes: int
) -> RemoteShards:
    return RemoteShards(place, layout, checksums, folder=folder, budget_bytes=budget_bytes)
