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
    """Return the resident memory of this process alone, less mapped files, where that is told.

    Between two batches it can be asked: the pages are counted already, and not walked through.
    """
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))
