"""`chirpid cache`: what caches there are, whether they are sound, and which may go."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chirpid.cli.guard import run_guarded
from chirpid.errors import DataError, did_you_mean
from chirpid.storage.caches import GIB, CacheEntry, is_in_use, list_caches, prune
from chirpid.types import size_text

_UNITS_S = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--outputs", type=Path, default=Path("outputs"), metavar="FOLDER",
                        help="folder of all outputs (default: %(default)s)")  # fmt: skip
    common.add_argument("--cache", type=Path, metavar="FOLDER",
                        help="folder of the caches (default: OUTPUTS/cache)")  # fmt: skip
    common.add_argument("--json", action="store_true", help="print JSON, for scripts")
    result = argparse.ArgumentParser(prog="chirpid cache", description="Look after the caches of "
                                     "mode=cached and mode=streaming.")  # fmt: skip
    actions = result.add_subparsers(dest="action", required=True, metavar="list|verify|prune")
    actions.add_parser("list", parents=[common], help="show all caches")
    verify = actions.add_parser("verify", parents=[common], help="compare data and checksums")
    verify.add_argument("names", nargs="*", help="begin of the names of some (default: all)")
    verify.add_argument("--forget", action="store_true",
                        help="let the next run make what is damaged again, unasked")  # fmt: skip
    prune_ = actions.add_parser("prune", parents=[common], help="remove caches that nobody uses")
    which = prune_.add_mutually_exclusive_group(required=True)
    which.add_argument("names", nargs="*", default=[], help="begin of the names of those to remove")
    which.add_argument("--keep-gib", type=float, metavar="GIB",
                       help="remove the least recently used until so much is left")  # fmt: skip
    which.add_argument("--older-than", type=_seconds, metavar="TIME",
                       help="remove what was not used for so long: 12h, 30d, 8w")  # fmt: skip
    which.add_argument("--all", action="store_true", help="remove all")
    prune_.add_argument("--dry-run", action="store_true", help="remove nothing, show what would go")
    return result


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no time: use 12h, 30d or 8w")
    return float(found[1]) * _UNITS_S[found[2]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one action and return the exit code: 1 where damage is found and stays."""
    options = parser().parse_args(argv)
    root: Path = options.cache or options.outputs / "cache"
    if options.action == "list":
        return run_guarded(lambda: _list(root, as_json=options.json))
    if options.action == "prune":
        return run_guarded(lambda: _prune(root, options))
    return run_guarded(lambda: _verify(root, options))


def chosen(root: Path, names: list[str]) -> list[CacheEntry]:
    """Return the caches whose names begin so; all without names.

    Raises:
        DataError: there are none, or none of one of the names.
    """
    entries = list_caches(root)
    if not entries:
        raise DataError(f"No caches in {root}.")
    known = [entry.path.name for entry in entries]
    for name in names:
        if not any(other.startswith(name) for other in known):
            raise DataError(
                f"No cache '{name}' in {root}.{did_you_mean(name, known)} See: chirpid cache list."
            )
    return [e for e in entries if not names or e.path.name.startswith(tuple(names))]


def _list(root: Path, *, as_json: bool) -> int:
    entries = list_caches(root)
    if as_json:
        print(json.dumps([_facts(entry) for entry in entries], indent=1))
    elif entries:
        from chirpid.cli.cache_table import print_caches

        print_caches(entries)
        total = size_text(sum(e.num_bytes for e in entries))
        print(f"{_counted(len(entries))}, {total} in {root}")
    else:
        print(f"No caches in {root}.")
    return 0


def _facts(entry: CacheEntry) -> dict[str, object]:
    """Return a cache for scripts; what a run noted about it (dataset, dtype, error...) included."""
    used = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(entry.last_used))
    return {
        "name": entry.path.name,
        "kind": entry.kind,
        "path": str(entry.path.absolute()),
        "num_bytes": entry.num_bytes,
        "planned_bytes": entry.planned_bytes,
        "last_used": used,
        "complete": entry.complete,
        "in_use": is_in_use(entry),
        **{k: v for k, v in entry.about.items() if k not in ("name", "kind", "path")},
    }


def _counted(number: int) -> str:
    return "1 cache" if number == 1 else f"{number} caches"


def _verify(root: Path, options: argparse.Namespace) -> int:
    from chirpid.cli.cache_verify import verify_caches  # torch takes seconds

    entries = chosen(root, options.names)
    return verify_caches(entries, forget=options.forget, as_json=options.json)


def _prune(root: Path, options: argparse.Namespace) -> int:
    removed, in_use = prune(root, _may_go(root, options), dry_run=options.dry_run)
    freed = sum(entry.num_bytes for entry in removed)
    if options.json:
        told = {"removed": [e.path.name for e in removed], "in_use": [e.path.name for e in in_use],
                "freed_bytes": freed, "dry_run": options.dry_run}  # fmt: skip
        print(json.dumps(told, indent=1))
        return 0
    would = "would be " if options.dry_run else ""
    for entry in removed:
        day = time.strftime("%Y-%m-%d", time.localtime(entry.last_used))
        print(f"{'would remove' if would else 'removed'} {entry.kind}/{entry.path.name}, "
              f"{size_text(entry.num_bytes)}, last used {day}")  # fmt: skip
    for entry in in_use:
        print(f"kept {entry.kind}/{entry.path.name}: a process uses it")
    print(f"{_counted(len(removed))} {would}removed, {size_text(freed)} {would}freed in {root}")
    return 0


def _may_go(root: Path, options: argparse.Namespace) -> Callable[[CacheEntry, int], bool]:
    """Return what tells of a cache, and of the bytes of all that are left, whether it may go."""
    if options.names:
        paths = {entry.path for entry in chosen(root, options.names)}
        return lambda entry, left: entry.path in paths
    if options.older_than is not None:
        before = time.time() - options.older_than
        return lambda entry, left: entry.last_used < before
    keep_bytes = 0 if options.all else max(0, int(options.keep_gib * GIB))
    # To keep nothing means empty ones, too.
    return lambda entry, left: left > keep_bytes or keep_bytes == 0


if __name__ == "__main__":
    sys.exit(main())
