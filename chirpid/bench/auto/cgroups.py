"""A slow disk and little memory for one process, through control groups (Linux, as root)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chirpid.bench.auto.workloads import SlowDisk
from chirpid.errors import BenchmarkError

_ROOT = Path("/sys/fs/cgroup")


@contextmanager
def held_to(limit: SlowDisk, pid: int, folder: Path) -> Iterator[None]:
    """Hold a process to a disk of a speed, for what lies on the disk of `folder`, and to memory.

    Memory that it has already does not count: it stays with the group that it was taken in.

    Raises:
        BenchmarkError: this system lets us make no such groups.
    """
    own = f"chirpid-bench-{pid}"
    made: list[Path] = []
    try:
        try:
            if (_ROOT / "cgroup.controllers").is_file():
                _version_2(limit, pid, folder, own, made)
            else:
                _version_1(limit, pid, folder, own, made)
        except OSError as error:
            raise BenchmarkError(
                f"A slow disk needs control groups and the right to make them ({error})."
            ) from error
        yield
    finally:
        for group in made:
            _leave(group)


def _version_1(limit: SlowDisk, pid: int, folder: Path, own: str, made: list[Path]) -> None:
    disk, memory = _ROOT / "blkio" / own, _ROOT / "memory" / own
    for group in (disk, memory):
        group.mkdir()
        made.append(group)  # at once: it is removed also if the next line fails
    (disk / "blkio.throttle.read_bps_device").write_text(f"{_device(folder)} {limit.bytes_per_s}")
    (memory / "memory.limit_in_bytes").write_text(str(limit.spare_bytes))
    for group in (disk, memory):
        (group / "cgroup.procs").write_text(str(pid))


def _version_2(limit: SlowDisk, pid: int, folder: Path, own: str, made: list[Path]) -> None:
    group = _ROOT / own
    with suppress(OSError):  # they are switched on already, or the next lines say what is missing
        (_ROOT / "cgroup.subtree_control").write_text("+io +memory")
    group.mkdir()
    made.append(group)
    (group / "io.max").write_text(f"{_device(folder)} rbps={limit.bytes_per_s}")
    (group / "memory.max").write_text(str(limit.spare_bytes))
    (group / "cgroup.procs").write_text(str(pid))


def _device(folder: Path) -> str:
    number = os.stat(folder).st_dev
    major, minor = os.major(number), os.minor(number)
    block = Path(f"/sys/dev/block/{major}:{minor}")
    if (block / "partition").is_file():  # only whole disks can be throttled
        return (block.resolve().parent / "dev").read_text().strip()
    return f"{major}:{minor}"


def _leave(group: Path) -> None:
    with suppress(OSError):  # a process that has ended has left already
        for pid in (group / "cgroup.procs").read_text().split():
            (group.parent / "cgroup.procs").write_text(pid)
    with suppress(OSError):
        group.rmdir()


def forget_pages(folder: Path) -> None:
    """Let the system drop the files of a folder from its page cache, so that reading is cold."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
