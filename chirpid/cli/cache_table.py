"""The table of `chirpid cache list`."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Table

from chirpid.storage.caches import CacheEntry, is_in_use
from chirpid.storage.facts import rounding_error
from chirpid.types import size_text


def print_caches(entries: list[CacheEntry]) -> None:
    """Print a line for each cache."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width to be kept to
    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "dataset", "rows", "off by", "last used", "state"):
        table.add_column(column)
    table.add_column("size", justify="right")
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used))
        error = rounding_error(entry.about)
        table.add_row(
            entry.path.name,
            entry.kind,
            str(entry.about.get("dataset", "?")),
            _rows(entry),
            error.short() if error else "?",
            used,
            _state(entry),
            size_text(entry.num_bytes),
        )
    console.print(table)


def _state(entry: CacheEntry) -> str:
    state = "whole" if entry.complete else "not whole"
    return f"{state}, in use" if is_in_use(entry) else state


def _rows(entry: CacheEntry) -> str:
    about = entry.about
    shape = about.get("shape")
    size = "×".join(map(str, shape)) if isinstance(shape, list) else "?"
    return f"{about.get('segments', '?')} {about.get('keep', '')} {size} {about.get('dtype', '')}"
