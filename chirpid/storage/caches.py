"""All caches below one folder: what there is, how large, and what goes when space is short."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from chirpid.errors import BudgetError
from chirpid.storage.locks import FileLock

KINDS = ("rows", "shards")


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One cache folder."""

    path: Path
    kind: str
    num_bytes: int
    last_used: float
    """Seconds since the epoch."""
    complete: bool
    about: dict[str, object]


def cache_folder(root: Path, kind: str, key: str) -> Path:
    """Return the folder of a cache."""
    return root / kind / key


def hold(folder: Path) -> FileLock:
    """Mark a cache as used now and keep it from being removed until the lock is closed."""
    lock = FileLock(folder / "use.lock")
    lock.acquire(shared=True)
    os.utime(folder / "use.lock")
    return lock


def list_caches(root: Path) -> list[CacheEntry]:
    """Return all caches, the least recently used first."""
    entries = [
        _entry(folder, kind)
        for kind in KINDS
        for folder in sorted((root / kind).glob("*"))
        if folder.is_dir()
    ]
    return sorted(entries, key=lambda e: e.last_used)


def _entry(folder: Path, kind: str) -> CacheEntry:
    meta = folder / ("meta.json" if kind == "rows" else "index.json")
    about: dict[str, object] = {}
    if meta.exists():
        about = json.loads(meta.read_text()).get("about", {})
    stats = [f.stat() for f in folder.iterdir() if f.is_file()]
    used = folder / "use.lock"
    return CacheEntry(
        path=folder,
        kind=kind,
        num_bytes=sum(s.st_blocks * 512 for s in stats),
        last_used=used.stat().st_mtime if used.exists() else folder.stat().st_mtime,
        complete=meta.exists(),
        about=about,
    )


def remove(entry: CacheEntry) -> bool:
    """Remove a cache unless a process uses or builds it; return whether it is gone."""
    locks = [FileLock(entry.path / name) for name in ("use.lock", "build.lock")]
    try:
        if not all(lock.acquire(wait=False) for lock in locks):
            return False
        # Not whole from here on, so that a kill half-way leaves nothing that looks whole.
        for name in ("meta.json", "index.json"):
            (entry.path / name).unlink(missing_ok=True)
        shutil.rmtree(entry.path)
    finally:
        for lock in locks:
            lock.close()
    return True


def make_room(root: Path, need_bytes: int, budget_bytes: int, *, keep: Path) -> list[CacheEntry]:
    """Remove least recently used caches until `need_bytes` fit; return what was removed.

    Raises:
        BudgetError: they cannot fit into the budget or onto the disk.
    """
    gib = 2**30
    if need_bytes > budget_bytes:
        raise BudgetError(
            f"The cache needs {need_bytes / gib:.2f} GiB, mode.cache_gib allows "
            f"{budget_bytes / gib:.2f} GiB. Raise mode.cache_gib, or use mode=lazy."
        )
    removed = []
    others = [e for e in list_caches(root) if e.path != keep]
    used = sum(e.num_bytes for e in others)
    for entry in others:
        if used + need_bytes <= budget_bytes:
            break
        if remove(entry):
            removed.append(entry)
            used -= entry.num_bytes
    if used + need_bytes > budget_bytes:
        raise BudgetError(
            f"The cache needs {need_bytes / gib:.2f} GiB beside {used / gib:.2f} GiB of caches in "
            f"use; mode.cache_gib allows {budget_bytes / gib:.2f} GiB. Raise it, or use mode=lazy."
        )
    root.mkdir(parents=True, exist_ok=True)
    present = sum(f.stat().st_blocks * 512 for f in keep.glob("*.bin")) if keep.exists() else 0
    free = shutil.disk_usage(root).free
    if need_bytes - present > free:
        raise BudgetError(
            f"The cache needs {need_bytes / gib:.2f} GiB, the disk of {root} has "
            f"{free / gib:.2f} GiB free. Set paths.cache to another disk, or use mode=lazy."
        )
    return removed
