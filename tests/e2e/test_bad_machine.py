"""Disks that are full or forbidden, workers that die: one line, and what was done is kept."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.forks import Parent
from tests.e2e.line import (
    LONG,
    ended,
    run_folder,
    run_folders,
    same_run,
    start,
    train,
)

pytestmark = pytest.mark.usefixtures("no_plots")


@contextmanager
def file_limit(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond so much: what a quota does, and any user may ask for."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 KiB, where we may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("what", ["plan.json", "rows.bin", "checkpoint.pt"])
def test_a_file_that_may_not_grow_is_one_line_and_can_be_gone_on_with(
    root: Path, straight: Path, tmp_path: Path, what: str
) -> None:
    checkpoint = (straight / "folds/0/checkpoint.pt").stat().st_size
    limit, mode = {
        "plan.json": (10, "cached"),
        "rows.bin": (60_000, "cached"),
        "checkpoint.pt": (checkpoint - 1000, "lazy"),
    }[what]
    with file_limit(limit):
        found = train(root, tmp_path, f"mode={mode}")
    assert found.code == 1, found
    assert found.line.startswith("storage error: Cannot write"), found.line
    again = train(root, tmp_path, "resume=auto")
    assert again.code == 0, again.err
    assert same_run(straight, run_folders(tmp_path)[-1])
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("share_kib", [30, 150, 300])
def test_a_full_disk_is_one_line_and_can_be_gone_on_with(
    root: Path, straight: Path, small_disk: Path, share_kib: int, tmp_path: Path
) -> None:
    """However much is free: for the cache, for a checkpoint, for the model of a later fold."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes((400 - share_kib) * 1024))
    found = train(root, small_disk / "out")
    assert found.code in (1, 2), found
    assert found.line.startswith(("storage error: Disk full", "config error: The cache needs"))
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    again = train(root, small_disk / "out", "resume=auto")
    assert again.code == 0, again.err
    assert same_run(straight, run_folders(small_disk / "out")[-1])


def test_a_full_cache_disk_is_one_line(root: Path, small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(370 * 1024))
    found = train(root, tmp_path / "out", f"paths.cache={small_disk}/cache")
    assert found.code in (1, 2)
    assert str(small_disk) in found.line
    lazy = train(root, tmp_path / "out", f"paths.cache={small_disk}/cache", "mode=lazy")
    assert lazy.code == 0, lazy.err


def test_outputs_that_are_a_file_are_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("no folder")
    found = train(root, tmp_path / "out")
    assert found.code == 1
    assert found.line.startswith("storage error: ")
    assert str(tmp_path / "out") in found.line


def test_outputs_that_may_not_be_written_are_one_line(root: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        locked = Path("/proc/chirpid-outputs")  # not even root makes folders there
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
    found = train(root, locked)
    assert found.code == 1
    assert found.line.startswith("storage error: ")
    assert str(locked) in found.line


@pytest.mark.parametrize("accident", ["cut", "removed", "emptied marks"])
def test_a_cache_that_was_damaged_is_built_again(
    root: Path, straight: Path, tmp_path: Path, accident: str
) -> None:
    assert train(root, tmp_path, "engine.epochs=1", "cv.folds=[0]").code == 0
    (rows,) = tmp_path.glob("cache/rows/*/rows.bin")
    if accident == "cut":
        os.truncate(rows, rows.stat().st_size // 2)
    elif accident == "removed":
        rows.unlink()
    else:
        (rows.parent / "meta.json").unlink()
        (rows.parent / "chunks.bin").write_bytes(b"")
    assert train(root, tmp_path).code == 0
    assert same_run(straight, run_folders(tmp_path)[-1])


def test_a_shard_that_was_damaged_is_named(root: Path, straight: Path, tmp_path: Path) -> None:
    more = ("mode=streaming", "mode.shard_segments=7")
    assert train(root, tmp_path, *more, "engine.epochs=1").code == 0
    shard = sorted(tmp_path.glob("cache/shards/*/shard-*.bin"))[2]
    data = bytearray(shard.read_bytes())
    data[-100] ^= 0xFF
    shard.write_bytes(bytes(data))
    found = train(root, tmp_path, *more)
    assert found.code == 1
    assert found.line == (
        f"storage error: {shard} is damaged at segment 20. It holds segments 14 to 20. "
        "Remove it and run again."
    )
    shard.unlink()
    assert train(root, tmp_path, *more, "resume=auto").code == 0
    assert same_run(straight, run_folders(tmp_path)[-1])


def test_a_worker_process_that_is_killed_is_replaced_and_nothing_is_lost(
    forks: Parent, root: Path, long_run: Path, tmp_path: Path
) -> None:
    more = (*LONG, "loader.backend=processes", "loader.num_workers=2",
            "loader.start_method=fork")  # fmt: skip
    process = start(forks, root, tmp_path, *more)
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob("runs/*/folds/0/checkpoint.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(psutil.Process(process.pid).children()[-1].pid, signal.SIGKILL)
    found = ended(process)
    assert found.code == 0, found.err
    assert len(re.findall(r"loader worker \d died \(.*started again", found.out)) == 1
    assert same_run(run_folder(tmp_path), long_run)
