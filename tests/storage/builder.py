"""Builds stores in a process of its own: `python -m tests.storage.builder FOLDER`."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from chirpid.errors import ChirpError
from chirpid.storage import rowstore, shards
from chirpid.storage.rowstore import RowLayout

LAYOUT = RowLayout(num_rows=149, shape=(33, 7), dtype="float16", chunk_rows=10)
WRITERS = {"rows": rowstore.build, "shards": shards.write_shards}
COMPLETE = {"rows": rowstore.is_complete, "shards": shards.is_complete}


def expected() -> Tensor:
    """Return the rows that every builder makes, float16 [149, 33, 7]."""
    count = LAYOUT.num_rows * 33 * 7
    return (torch.arange(count, dtype=torch.int64) * 7919 % 2003).half().view(-1, 33, 7)


def fill(first: int, end: int, kept: Tensor) -> None:
    """Fill rows with those that are expected."""
    kept.copy_(expected()[first:end])


def make(first: int, end: int, kept: Tensor) -> None:
    """Fill rows slowly enough that a kill can come in between."""
    time.sleep(0.004)
    fill(first, end, kept)


def flip_byte(path: Path, offset: int) -> None:
    """Change a byte of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def build(kind: str, folder: Path, log: Path) -> None:
    """Build a store, noting each chunk that is made in `log`."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(first: int, end: int, kept: Tensor) -> None:
        make(first, end, kept)
        os.write(handle, f"{first // LAYOUT.chunk_rows}\n".encode())

    WRITERS[kind](folder, LAYOUT, noted, about={}, num_threads=2)
    os.close(handle)


def finished_chunks(kind: str, folder: Path) -> set[int]:
    """Return the chunks that a next build need not make again."""
    if kind == "shards":
        return {c for c in range(LAYOUT.num_chunks) if shards.shard_path(folder, c).exists()}
    marks = folder / "chunks.bin"
    data = marks.read_bytes() if marks.exists() else b""
    return {c for c in range(len(data) // 8) if data[8 * c : 8 * c + 4] == b"done"}


def kill_often(kind: str, folder: Path, seed: int) -> None:
    """Kill builds at random moments and check what each leaves; print the number of kills."""
    rng, kills = random.Random(seed), 0
    log = folder.with_suffix(".log")
    while not COMPLETE[kind](folder, LAYOUT):
        before = finished_chunks(kind, folder)
        log.unlink(missing_ok=True)
        child = _forked(lambda: build(kind, folder, log))
        time.sleep(rng.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        made = [int(line) for line in log.read_text().split()] if log.exists() else []
        assert not before & set(made), f"made again: {before & set(made)}"
        assert before <= finished_chunks(kind, folder)
        if not COMPLETE[kind](folder, LAYOUT):
            refuses_to_be_read(kind, folder)
        kills += 1
        assert kills < 2000, "it does not come to an end"
    print(kills)


def refuses_to_be_read(kind: str, folder: Path) -> None:
    """Check that a store that is not whole is refused."""
    if kind == "rows":
        try:
            rowstore.open_rows(folder, LAYOUT)
        except ChirpError:
            return
        raise AssertionError("half a store was opened")
    for shard in finished_chunks(kind, folder):  # those that have their name are whole
        first, end = LAYOUT.span(shard)
        assert torch.equal(shards.read_shard(folder, LAYOUT, shard), expected()[first:end])


def as_nobody(kind: str, folder: Path) -> None:
    """Build as a user who may not write there; print the one line."""
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        build(kind, folder, Path(os.devnull))
    except ChirpError as error:
        print(error.line())


def race(kind: str, folder: Path) -> None:
    """Build in two processes at once; print the chunks that were made, in all."""
    log = folder.with_suffix(".log")
    children = [_forked(lambda: build(kind, folder, log)) for _ in range(2)]
    states = [os.waitpid(child, 0)[1] for child in children]
    assert states == [0, 0]
    print(" ".join(sorted(log.read_text().split(), key=int)))


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for store in ("rows", "shards"):
        kill_often(store, place / f"killed-{store}", 3)
        race(store, place / f"raced-{store}")
        build(store, place / f"straight-{store}", place / "straight.log")
    for store in ("rows", "shards"):
        as_nobody(store, place / "closed" / store)
