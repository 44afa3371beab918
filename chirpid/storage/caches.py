"""All caches below one folder: what there is, how large, and what goes when space is short."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chirpid.errors import BudgetError, StorageError
from chirpid.storage.atomic import storage_error, write_text
from chirpid.storage.locks import FileLock, exclusive
from chirpid.types import size_text

KINDS = {"rows": "meta.json", "shards": "index.json"}
"""Kinds of caches, and the file that only a whole one has."""
GIB = 2**30
_REMOVED = ".removed-"


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One cache folder."""

    path: Path
    kind: str
    num_bytes: int
    """Bytes on the disk."""
    last_used: float
    """Seconds since the epoch."""
    complete: bool
    about: dict[str, object]
    planned_bytes: int = 0
    """Bytes that it will have once it is whole."""

    @property
    def claimed_bytes(self) -> int:
        """What counts against the budget: a cache in the making counts as whole."""
        return self.num_bytes if self.complete else max(self.num_bytes, self.planned_bytes)


def cache_folder(root: Path, kind: str, key: str) -> Path:
    """Return the folder of a cache."""
    return root / kind / key


def hold(folder: Path) -> FileLock:
    """Mark a cache as used now and keep it from being removed until the lock is closed."""
    lock = FileLock(folder / "use.lock")
    lock.acquire(shared=True)
    lock.touch()
    return lock


def reserve(
    root: Path,
    folder: Path,
    *,
    need_bytes: int,
    budget_bytes: int,
    about: dict[str, object],
) -> tuple[FileLock, list[CacheEntry]]:
    """Make room for the cache `folder` and hold it; return the lock and what was removed for it.

    Two processes that do so at once do not spend the same bytes twice.

    Raises:
        BudgetError: as `make_room`.
        StorageError: the folder cannot be written.
    """
    with exclusive(root / "room.lock"):
        removed = make_room(root, need_bytes, budget_bytes, keep=folder)
        lock = hold(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(lock.close)
            if not (folder / "plan.json").exists():
                plan = {"num_bytes": need_bytes, "about": about}
                write_text(folder / "plan.json", json.dumps(plan, indent=1))
            undo.pop_all()
        return lock, removed


def list_caches(root: Path) -> list[CacheEntry]:
    """Return all caches, the least recently used first."""
    entries = []
    for kind in KINDS:
        for folder in sorted((root / kind).glob("*")):
            # Another process may be removing it right now.
            with contextlib.suppress(FileNotFoundError):
                if folder.is_dir() and not folder.name.startswith(_REMOVED):
                    entries.append(_entry(folder, kind))
    return sorted(entries, key=lambda e: e.last_used)


def _entry(folder: Path, kind: str) -> CacheEntry:
    whole, plan = _read_json(folder / KINDS[kind]), _read_json(folder / "plan.json")
    about, planned = (whole or plan or {}).get("about"), (plan or {}).get("num_bytes")
    used = folder / "use.lock"
    return CacheEntry(
        path=folder,
        kind=kind,
        num_bytes=_disk_bytes(folder),
        last_used=(used if used.exists() else folder).stat().st_mtime,
        complete=whole is not None,
        about=about if isinstance(about, dict) else {},
        planned_bytes=planned if isinstance(planned, int) else 0,
    )


def _disk_bytes(folder: Path) -> int:
    """Return the bytes that the files of a folder take, 0 if there is none."""
    total = 0
    for file in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # a temporary file that got its name
            total += file.stat().st_blocks * 512
    return total


def _read_json(path: Path) -> dict[str, object] | None:
    """Return what a file holds; None if it is missing or no table."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def remove(entry: CacheEntry) -> bool:
    """Remove a cache unless a process uses or builds it; return whether it is gone.

    Raises:
        StorageError: it is not allowed.
    """
    if not entry.path.exists():
        return True
    locks = [FileLock(entry.path / name) for name in ("use.lock", "build.lock")]
    try:
        if not all(lock.acquire(wait=False) for lock in locks):
            return False
        # Under another name at once: a kill half-way leaves nothing that looks like a cache, and
        # who opens the lock meanwhile finds that it is no longer the one in place.
        trash = entry.path.with_name(f"{_REMOVED}{entry.path.name}-{secrets.token_hex(4)}")
        os.replace(entry.path, trash)
    except OSError as error:
        raise storage_error(error, entry.path) from error
    finally:
        for lock in locks:
            lock.close()
    shutil.rmtree(trash, ignore_errors=True)
    return True


def is_in_use(entry: CacheEntry) -> bool:
    """Return whether a process uses or builds a cache; False where it cannot be told."""
    for name in ("use.lock", "build.lock"):
        if not (entry.path / name).exists():
            continue  # to look must not make it
        try:
            lock = FileLock(entry.path / name)
        except StorageError:  # somebody else's cache
            return False
        try:
            if not lock.acquire(wait=False):
                return True
        finally:
            lock.close()
    return False


def prune(
    root: Path, may_go: Callable[[CacheEntry, int], bool], *, dry_run: bool = False
) -> tuple[list[CacheEntry], list[CacheEntry]]:
    """Remove caches, the least recently used first.

    Args:
        may_go: told of a cache and of the bytes that all together still take.
        dry_run: remove nothing, and return what would go.
    Returns:
        What was removed, and what had to stay since it is in use.
    """
    if not dry_run:
        sweep(root)
    removed, in_use = [], []
    entries = list_caches(root)
    left = sum(entry.num_bytes for entry in entries)
    for entry in entries:
        if not may_go(entry, left):
            continue
        if not is_in_use(entry) if dry_run else remove(entry):
            removed.append(entry)
            left -= entry.num_bytes
        else:
            in_use.append(entry)
    return removed, in_use


def sweep(root: Path) -> None:
    """Remove what removals that were killed have left behind."""
    for kind in KINDS:
        for trash in (root / kind).glob(f"{_REMOVED}*"):
            shutil.rmtree(trash, ignore_errors=True)


def check_size(need_bytes: int, budget_bytes: int) -> None:
    """Refuse a cache that is over the budget even when it is the only one.

    Raises:
        BudgetError: it is.
    """
    if need_bytes > budget_bytes:
        raise BudgetError(
            f"The cache needs {size_text(need_bytes)}, mode.cache_gib allows "
            f"{size_text(budget_bytes)}. Raise mode.cache_gib, or use mode=lazy."
        )


def make_room(root: Path, need_bytes: int, budget_bytes: int, *, keep: Path) -> list[CacheEntry]:
    """Remove least recently used caches until `need_bytes` fit; return what was removed.

    Raises:
        BudgetError: they cannot fit into the budget or onto the disk.
    """
    check_size(need_bytes, budget_bytes)
    sweep(root)
    removed = []
    others = [e for e in list_caches(root) if e.path != keep]
    used = sum(e.claimed_bytes for e in others)
    for entry in others:
        if used + need_bytes <= budget_bytes:
            break
        if remove(entry):
            removed.append(entry)
            used -= entry.claimed_bytes
    if used + need_bytes > budget_bytes:
        raise BudgetError(
            f"The cache needs {size_text(need_bytes)} beside {size_text(used)} of caches in "
            f"use; mode.cache_gib allows {size_text(budget_bytes)}. Raise it, or use mode=lazy."
        )
    _check_disk(root, need_bytes, keep)
    return removed


def _check_disk(root: Path, need_bytes: int, keep: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise storage_error(error, root) from error
    if need_bytes - _disk_bytes(keep) > free:
        raise BudgetError(
            f"The cache needs {size_text(need_bytes)}, the disk of {root} has "
            f"{size_text(free)} free. Set paths.cache to another disk, or use mode=lazy."
        )
