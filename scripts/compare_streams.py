"""Compare ways of streaming rows from shards: python scripts/compare_streams.py [--rows 1024].

`--part figures` takes speeds, `--part properties` asks what else a stream should keep to; each
prints a Markdown table. Needs `pip install "chirpid[bench]"`; what is not installed is left out.
Every question is asked of a fresh process, on log-mel rows of 128 × 501 in float16.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from streams import BATCH, Stream, numbers, rows_of, streams


def speed(stream: Stream, folder: Path, count: int, workers: int) -> float:
    """Return rows per second of the best of three epochs after the first."""
    loader, times = stream.open(folder, BATCH, workers), []
    for _ in range(4):
        begin = time.perf_counter()
        for _batch in loader:
            pass
        times.append(time.perf_counter() - begin)
    return count / min(times[1:])


def first_batch(stream: Stream, folder: Path, count: int, workers: int) -> float:
    """Return milliseconds from nothing open, but all imported, to the first batch."""
    import_module(stream.module)
    begin = time.perf_counter()
    next(iter(stream.open(folder, BATCH, workers)))
    return 1e3 * (time.perf_counter() - begin)


def order(stream: Stream, folder: Path, count: int, workers: int) -> list[list[int]]:
    return [numbers(batch) for batch in stream.open(folder, BATCH, workers)]


def resume(stream: Stream, folder: Path, count: int, workers: int) -> list[list[int]]:
    """Return the numbers of three batches, then those of the rest with another worker count."""
    begun = stream.open(folder, BATCH, 2)
    if not hasattr(begun, "state_dict"):
        raise TypeError("has no state")
    batches = iter(begun)
    before = [numbers(batch) for batch in islice(batches, 3)]
    state = json.loads(json.dumps(begun.state_dict()))
    print(json.dumps(["later", [numbers(batch) for batch in batches]]), flush=True)
    del batches, begun
    return [*before, *resumed(stream, folder, state, workers)]


def resumed(stream: Stream, folder: Path, state: Any, workers: int) -> list[list[int]]:
    place = folder.parent / f"{folder.name}-again"  # one of them refuses to open a folder twice
    place.symlink_to(folder)
    try:
        after = stream.open(place, BATCH, workers)
        after.load_state_dict(state)
        return [numbers(batch) for batch in after]
    finally:
        place.unlink()


def damage(stream: Stream, folder: Path, count: int, workers: int) -> str:
    """Return what happens when one bit in the middle of one file of rows has turned."""
    path = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    good = path.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 0x40
    path.write_bytes(bad)
    try:
        for _batch in stream.open(folder, BATCH, workers):
            pass
        return "goes unnoticed"
    except Exception as error:  # noqa: BLE001 - whatever it is, it was noticed
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        path.write_bytes(good)


def memory(stream: Stream, folder: Path, count: int, workers: int) -> float:
    """Return by how many MiB of its own the process grew over an epoch."""
    loader = stream.open(folder, BATCH, workers)
    first = most = own_mib()
    for _batch in loader:
        most = max(most, own_mib())
    return most - first


def own_mib() -> float:
    """Return memory that is no mapped file, which the system could not take back."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kinds = [line.split() for line in status.splitlines() if line.startswith(("RssAnon", "RssShm"))]
    return sum(int(words[1]) for words in kinds) / 1024


QUESTIONS: dict[str, Callable[[Stream, Path, int, int], Any]] = {
    f.__name__: f for f in (speed, first_batch, order, resume, damage, memory)
}


def ask(question: str, name: str, folder: Path, count: int, workers: int) -> list[Any]:
    """Return the lines that a fresh process answers with; the last is the answer."""
    words = ["--ask", question, name, folder, count, workers]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith('["')]
    if done.returncode or not lines:
        return [["error", (done.stderr.strip().splitlines() or ["ended"])[-1][:160]]]
    return [json.loads(line) for line in lines]


def resume_text(lines: list[Any], count: int) -> str:
    """Say how what came after going on compares with what would have come."""
    kind, value = lines[-1]
    if kind == "error":
        return value.split(": ", 1)[-1]
    later, batches = lines[0][1], value[3:]
    if batches == later:
        return f"the same {len(later)} batches"
    seen = [n for batch in value for n in batch]
    lost, twice = count - len(set(seen)), len(seen) - len(set(seen))
    return f"other batches, {lost} rows lost, {twice} twice"


@dataclass(frozen=True)
class Written:
    """A stream whose rows are written, all of them and a quarter of them."""

    name: str
    folder: Path
    small: Path
    count: int

    def told(self, question: str, workers: int) -> Any:
        return ask(question, self.name, self.folder, self.count, workers)[-1][1]

    def figures(self) -> dict[str, str]:
        """Return what a busy machine would change."""
        said: dict[str, str] = {}
        for workers in (0, 2):
            rate = self.told("speed", workers)
            said[f"rows/s, {workers} workers"] = f"{rate:,.0f}" if isinstance(rate, float) else rate
        said["first batch after opening"] = f"{self.told('first_batch', 0):.0f} ms"
        return said

    def properties(self) -> dict[str, str]:
        said: dict[str, str] = {}
        whole = self.told("order", 0)
        for workers in (1, 2):
            same = self.told("order", workers) == whole
            said[f"order with {workers} workers"] = "that of none" if same else "another"
        for workers in (2, 1, 0):
            lines = ask("resume", self.name, self.folder, self.count, workers)
            label = f"stopped with 2 workers, resumed with {workers}"
            said[label] = resume_text(lines, self.count)
        said["one turned bit in a shard"] = self.told("damage", 0)
        small = ask("memory", self.name, self.small, self.count // 4, 0)[-1][1]
        grown = (small, self.told("memory", 0))
        label = f"own memory for {self.count // 4} and {self.count} rows"
        said[label] = " and ".join(f"{mib:.0f} MiB" for mib in grown)
        return said


def write(name: str, place: Path, count: int) -> Written:
    rows, folder = rows_of(count), place / name.replace(" ", "-")
    small = place / f"{folder.name}-small"
    stream = streams(count)[name]
    stream.write(rows, folder)
    stream.write(rows[: count // 4], small)
    return Written(name, folder, small, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--only", default="", help="the name of one of them")
    parser.add_argument("--part", choices=("figures", "properties"), default="figures")
    parser.add_argument("--ask", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        question, name, folder, count, workers = arguments.ask
        warnings.simplefilter("ignore")
        asked = QUESTIONS[question], streams(int(count))[name]
        value = asked[0](asked[1], Path(folder), int(count), int(workers))
        return print(json.dumps(["answer", value]), flush=True)
    names = [n for n in streams(arguments.rows) if not arguments.only or n == arguments.only]
    with tempfile.TemporaryDirectory(prefix="chirpid-streams-") as place:
        written = [write(name, Path(place), arguments.rows) for name in names]
        columns = {one.name: getattr(one, arguments.part)() for one in written}
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for label in columns[names[0]]:
        print(f"| {label} | {' | '.join(columns[name][label] for name in names)} |")


if __name__ == "__main__":
    main()
