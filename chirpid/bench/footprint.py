"""Memory, descriptors, threads and children of a process and of all below it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a tree of processes holds at one moment."""

    own_bytes: int
    """Memory that only ends with the processes; pages that several share count once."""
    mapped_bytes: int
    """Pages of mapped files, libraries among them: the page cache, which the system takes back
    when it needs room. 0 where the system does not tell it apart."""
    rss_bytes: int
    """Resident bytes as most tools show them; shared pages count for each process."""
    num_fds: int
    num_threads: int
    num_children: int


def footprint(pid: int | None = None) -> Footprint:
    """Return what the process `pid`, or this one, and its children hold."""
    try:
        top = psutil.Process(pid)
        tree = [top, *top.children(recursive=True)]
    except psutil.Error:
        return Footprint(0, 0, 0, 0, 0, 0)
    own = mapped = rss = fds = threads = 0
    for process in tree:
        try:
            anonymous, files = _proportional(process)
            own, mapped = own + anonymous, mapped + files
            rss += process.memory_info().rss
            fds += process.num_fds() if os.name == "posix" else process.num_handles()
            threads += process.num_threads()
        except (psutil.Error, OSError):  # it ended meanwhile
            continue
    return Footprint(own, mapped, rss, fds, threads, len(tree) - 1)


def _proportional(process: psutil.Process) -> tuple[int, int]:
    """Return own bytes and bytes of mapped files; what n processes share counts 1/n in each."""
    place = Path(f"/proc/{process.pid}/smaps_rollup")
    if not place.exists():
        return int(process.memory_full_info().uss), 0
    fields = {}
    for line in place.read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0]) * 1024
    files = fields.get("Pss_File", 0)
    return fields["Pss"] - files, files


def own_bytes() -> int:
    """Return the own memory of this process alone, shared memory included.

    Between two batches it can be asked: the system has counted the pages, and walks through none.
    """
    place = Path("/proc/self/status")
    if not place.exists():
        return int(psutil.Process().memory_full_info().uss)
    fields = dict(line.split(":", 1) for line in place.read_text().splitlines())
    return 1024 * sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))
