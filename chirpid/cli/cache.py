"""`chirpid cache`: what caches there are, whether they are sound, and which may go."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chirpid.cli.guard import run_guarded
from chirpid.errors import DataError
from chirpid.storage.caches import GIB, CacheEntry, list_caches, prune
from chirpid.storage.locks import FileLock
from chirpid.types import size_text


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--outputs", type=Path, default=Path("outputs"), metavar="FOLDER",
                        help="folder of all outputs (default: %(default)s)")  # fmt: skip
    places.add_argument("--cache", type=Path, metavar="FOLDER",
                        help="folder of the caches (default: OUTPUTS/cache)")  # fmt: skip
    result = argparse.ArgumentParser(prog="chirpid cache", description="Look after the caches of "
                                     "mode=cached and mode=streaming.")  # fmt: skip
    actions = result.add_subparsers(dest="action", required=True, metavar="list|verify|prune")
    actions.add_parser("list", parents=[places], help="show all caches")
    verify = actions.add_parser("verify", parents=[places], help="compare data and checksums")
    verify.add_argument("names", nargs="*", help="begin of the names of some (default: all)")
    verify.add_argument("--forget", action="store_true",
                        help="let the next run make what is damaged again, unasked")  # fmt: skip
    prune_ = actions.add_parser("prune", parents=[places], help="remove caches that nobody uses")
    which = prune_.add_mutually_exclusive_group(required=True)
    which.add_argument("--keep-gib", type=float, metavar="GIB",
                       help="remove the least recently used until so much is left")  # fmt: skip
    which.add_argument("--all", action="store_true", help="remove all")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run one action and return the exit code: 1 where damage is found and stays."""
    options = parser().parse_args(argv)
    root: Path = options.cache or options.outputs / "cache"
    if options.action == "list":
        return run_guarded(lambda: _list(root))
    if options.action == "verify":
        return run_guarded(lambda: _verify(root, options.names, forget=options.forget))
    keep = 0 if options.all else max(0, int(options.keep_gib * GIB))
    return run_guarded(lambda: _prune(root, keep))


def _list(root: Path) -> int:
    entries = list_caches(root)
    if not entries:
        print(f"No caches in {root}.")
        return 0
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a pipe has no width to be kept to
    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "dataset", "rows", "last used", "state"):
        table.add_column(column)
    table.add_column("size", justify="right")
    for entry in entries:
        state = "whole" if entry.complete else "not whole"
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used))
        table.add_row(entry.path.name, entry.kind, str(entry.about.get("dataset", "?")),
                      _rows(entry), used, state, size_text(entry.num_bytes))  # fmt: skip
    console.print(table)
    total = size_text(sum(e.num_bytes for e in entries))
    print(f"{_counted(len(entries))}, {total} in {root}")
    return 0


def _counted(number: int) -> str:
    return "1 cache" if number == 1 else f"{number} caches"


def _rows(entry: CacheEntry) -> str:
    about = entry.about
    shape = about.get("shape")
    size = "×".join(map(str, shape)) if isinstance(shape, list) else "?"
    return f"{about.get('segments', '?')} {about.get('keep', '')} {size} {about.get('dtype', '')}"


def _verify(root: Path, names: list[str], *, forget: bool) -> int:
    chosen = [e for e in list_caches(root) if not names or e.path.name.startswith(tuple(names))]
    if not chosen:
        raise DataError(f"No caches{' of these names' if names else ''} in {root}.")
    return max([_verify_one(entry, forget=forget) for entry in chosen])


def _verify_one(entry: CacheEntry, *, forget: bool) -> int:
    from chirpid.storage import rowstore, shards  # torch takes seconds

    name = f"{entry.kind}/{entry.path.name}"
    in_use = FileLock(entry.path / "use.lock")
    try:
        in_use.acquire(shared=True)
        layout = (rowstore if entry.kind == "rows" else shards).read_layout(entry.path)
        if layout is None:
            print(f"{name}: not whole; the next run that needs it goes on with it")
            return 0
        check = rowstore.verify if entry.kind == "rows" else shards.verify
        bad = check(entry.path, layout)
        word = "chunk" if entry.kind == "rows" else "shard"
        if not bad:
            print(f"{name}: sound, {layout.num_chunks} {word}s")
            return 0
        spans = [layout.span(b) for b in bad]
        where = ", ".join(f"{b} (segments {first}-{end - 1})"
                          for b, (first, end) in zip(bad, spans, strict=True))  # fmt: skip
        print(f"{name}: damaged {word}s: {where}")
        if not (forget or _agrees(f"Let the next run make these {word}s again?")):
            print("Left as it is. To mend it: chirpid cache verify --forget")
            return 1
        drop = rowstore.forget_chunks if entry.kind == "rows" else shards.forget_shards
        drop(entry.path, bad)
        print(f"Forgotten: the next run that needs {name} makes them again.")
        return 0
    finally:
        in_use.close()


def _agrees(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _prune(root: Path, keep_bytes: int) -> int:
    removed, in_use = prune(root, keep_bytes)
    for entry in removed:
        print(f"removed {entry.kind}/{entry.path.name}, {size_text(entry.num_bytes)}")
    for entry in in_use:
        print(f"kept {entry.kind}/{entry.path.name}: a process uses it")
    freed = size_text(sum(entry.num_bytes for entry in removed))
    print(f"{_counted(len(removed))} removed, {freed} freed in {root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
