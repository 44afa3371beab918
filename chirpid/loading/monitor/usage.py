"""What this process and its children use: memory, processor time, bytes from disks, the GPU."""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from typing import Any, NamedTuple

import psutil

_PROC = "/proc"
_CHUNK = 4096
_NOTHING = (math.nan, math.nan)


class Usage(NamedTuple):
    """What was in use at a moment, and what had been used by then."""

    rss_bytes: float
    """Resident memory of all processes; pages that they share count each time."""
    cpu_s: float
    """Seconds of all cores. On Linux those of children that ended are in it."""
    disk_bytes: float
    """Read from disks, the page cache excluded; 0 where the system does not tell."""
    gpu_percent: float = math.nan
    gpu_bytes: float = math.nan


class ProcessTree:
    """This process and all that it started, directly or not.

    On Linux a process is told by two small files, and the tree by those of processes not seen
    before: a tenth of a millisecond where a search through all processes takes several.
    """

    def __init__(self) -> None:
        self._linux = os.path.exists(f"{_PROC}/self/stat")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE") if self._linux else 0
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK") if self._linux else 0.0
        self._owner = 0
        self._ours: set[int] = set()
        self._parents: dict[int, int] = {}

    def read(self) -> Usage:
        """Return what the tree uses now, the GPU left out."""
        return self._read_linux() if self._linux else _read_anywhere()

    def _read_linux(self) -> Usage:
        self._look_for_new()
        rss = ticks = disk = 0
        for pid in list(self._ours):
            try:
                fields = _stat(pid)
            except OSError:  # it ended meanwhile; its parent has its counts
                self._ours.discard(pid)
                continue
            # Those of children that were waited for are with their parent: nothing is lost.
            ticks += sum(map(int, fields[11:15]))
            rss += int(fields[21])
            with suppress(OSError):  # it ended, or changed its user
                disk += _read_bytes(pid)
        return Usage(rss * self._page_bytes, ticks * self._tick_s, disk)

    def _look_for_new(self) -> None:
        """Take in the processes that were started since; a parent is always seen by then."""
        me = os.getpid()
        if self._owner != me:  # at the start, and in a forked copy
            self._owner, self._ours, self._parents = me, {me}, {}
        pids = {int(name) for name in os.listdir(_PROC) if name.isdigit()}
        new = pids - self._parents.keys()
        for pid in self._parents.keys() - pids:  # the number may be given again
            del self._parents[pid]
        for pid in new:
            with suppress(OSError):
                self._parents[pid] = int(_stat(pid)[1])
        grew = bool(new)
        while grew:
            born = {p for p in new - self._ours if self._parents.get(p) in self._ours}
            self._ours |= born
            grew = bool(born)


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/<pid>/stat that come after the name, which may hold anything."""
    return _content(f"{_PROC}/{pid}/stat").rpartition(b")")[2].split()


def _read_bytes(pid: int) -> int:
    return int(_content(f"{_PROC}/{pid}/io").partition(b"\nread_bytes: ")[2].split(b"\n", 1)[0])


def _content(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, _CHUNK)
    finally:
        os.close(handle)


def _read_anywhere() -> Usage:
    me = psutil.Process()
    rss = cpu_s = disk = 0.0
    for process in [me, *me.children(recursive=True)]:
        with suppress(psutil.Error), process.oneshot():  # a worker that ended meanwhile
            rss += process.memory_info().rss
            times = process.cpu_times()
            cpu_s += times.user + times.system
            counters: Any = getattr(process, "io_counters", None)
            disk += counters().read_bytes if counters is not None else 0
    return Usage(rss, cpu_s, disk)


class Gpu:
    """The GPU that torch uses, as its driver counts it. Where there is none, nothing is told."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._tells = True

    def read(self) -> tuple[float, float]:
        """Return the percentage of the last second in which it worked, and its bytes in use.

        Neither waits for the GPU.
        """
        torch = sys.modules.get("torch")
        if not self._tells or torch is None or not torch.cuda.is_initialized():
            return _NOTHING
        import pynvml

        try:
            if self._handle is None:
                pynvml.nvmlInit()
                device = torch.cuda.get_device_properties(torch.cuda.current_device())
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{device.uuid}")
            used = float(pynvml.nvmlDeviceGetMemoryInfo(self._handle).used)
            return float(pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu), used
        except (pynvml.NVMLError, RuntimeError):  # a driver without counters, as in containers
            self._tells = False
            free, total = torch.cuda.mem_get_info()
            return math.nan, float(total - free)


_tree, _gpu = ProcessTree(), Gpu()


def read_usage() -> Usage:
    """Return what this process, its children and its GPU use now."""
    usage, (percent, used) = _tree.read(), _gpu.read()
    return usage._replace(gpu_percent=percent, gpu_bytes=used)


def tree_rss_bytes() -> int:
    """Return the resident bytes of this process and its workers; shared pages count each time."""
    return int(_tree.read().rss_bytes)
