"""`chirpid cache verify`: compare what caches hold with the checksums it was written with."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field

from rich.console import Console

from chirpid.cli.progress import progress_bar
from chirpid.loading.hardware import usable_cores
from chirpid.storage import rowstore, shards
from chirpid.storage.caches import CacheEntry
from chirpid.storage.layout import RowLayout
from chirpid.storage.locks import FileLock
from chirpid.types import size_text


@dataclass(slots=True)
class Checked:
    """What was found of one cache."""

    entry: CacheEntry
    layout: RowLayout | None
    """None of a cache that is not whole."""
    damaged: list[int] = field(default_factory=list)
    """Chunks or shards."""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.entry.kind}/{self.entry.path.name}"

    @property
    def word(self) -> str:
        return "chunk" if self.entry.kind == "rows" else "shard"

    def text(self) -> str:
        """Return the finding in one line."""
        if self.layout is None:
            return f"{self.name}: not whole; the next run that needs it goes on with it"
        if not self.damaged:
            rate = self.layout.num_bytes / max(self.seconds, 1e-9)
            return (f"{self.name}: sound, {self.layout.num_chunks} {self.word}s, "
                    f"{size_text(self.layout.num_bytes)} at {size_text(rate)}/s")  # fmt: skip
        spans = [(bad, *self.layout.span(bad)) for bad in self.damaged]
        where = ", ".join(f"{bad} (segments {first}-{end - 1})" for bad, first, end in spans)
        return f"{self.name}: damaged {self.word}s: {where}"

    def facts(self) -> dict[str, object]:
        """Return the finding for scripts."""
        state = "damaged" if self.damaged else "sound"
        return {
            "name": self.entry.path.name,
            "kind": self.entry.kind,
            "state": state if self.layout else "not whole",
            "damaged": self.damaged,
            "num_bytes": self.layout.num_bytes if self.layout else 0,
            "seconds": round(self.seconds, 3),
        }


def verify_caches(entries: list[CacheEntry], *, forget: bool, as_json: bool = False) -> int:
    """Check caches one after the other; return 1 where damage is found and stays, else 0."""
    found, exit_code = [], 0
    for entry in entries:
        in_use = FileLock(entry.path / "use.lock")
        try:
            in_use.acquire(shared=True)  # not to be removed meanwhile
            checked = _check(entry)
            found.append(checked)
            if not as_json:
                print(checked.text(), flush=True)
            if checked.damaged and not _mend(checked, forget=forget, quiet=as_json):
                exit_code = 1
        finally:
            in_use.close()
    if as_json:
        print(json.dumps([checked.facts() for checked in found], indent=1))
    return exit_code


def _check(entry: CacheEntry) -> Checked:
    kind = rowstore if entry.kind == "rows" else shards
    layout = kind.read_layout(entry.path)
    if layout is None:
        return Checked(entry, None)
    begin = time.perf_counter()
    title = f"{entry.kind}/{entry.path.name}"
    with progress_bar(Console(stderr=True), title, in_bytes=True) as told:

        def in_bytes(done: int, total: int) -> None:
            told(min(done * layout.chunk_rows, layout.num_rows) * layout.row_bytes,
                 layout.num_bytes)  # fmt: skip

        bad = kind.verify(entry.path, layout, num_threads=usable_cores(), progress=in_bytes)
    return Checked(entry, layout, bad, time.perf_counter() - begin)


def _mend(checked: Checked, *, forget: bool, quiet: bool) -> bool:
    """Forget what is damaged if that is asked for, or agreed to; return whether it was."""
    if not forget and (quiet or not _agrees(f"Let the next run make these {checked.word}s again?")):
        if not quiet:
            print("Left as it is. To mend it: chirpid cache verify --forget")
        return False
    drop = rowstore.forget_chunks if checked.entry.kind == "rows" else shards.forget_shards
    drop(checked.entry.path, checked.damaged)
    if not quiet:
        print(f"Forgotten: the next run that needs {checked.name} makes them again.")
    return True


def _agrees(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
