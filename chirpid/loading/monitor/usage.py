"""What this process and its children use: memory, processor time, bytes from disks, the GPU."""

from __future__ import annotations

import math
import os
import sys
import time
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

import psutil

_PROC = "/proc"
_CHUNK = 4096
_NOTHING = (math.nan, math.nan)
FRESH_S = 0.002
"""What was read so lately is not read again."""
RARELY_S = 0.25
"""What is read for epochs is read no more often than this: short ones share it."""


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
        self._last = Usage(0, 0, 0)
        self.read_at = -math.inf
        """When it was read last, as `time.perf_counter` tells the time."""

    def read(self, *, rarely: bool = False) -> Usage:
        """Return what the tree uses now, the GPU left out.

        Args:
            rarely: what was read `RARELY_S` ago will do.
        """
        # The end of an epoch and the begin of the next ask four times in a row.
        fresh_s = RARELY_S if rarely else FRESH_S
        if time.perf_counter() - self.read_at > fresh_s or self.is_of_another_process():
            self._last = self._read_linux() if self._linux else _read_anywhere()
            self._owner = os.getpid()
            self.read_at = time.perf_counter()
        return self._last

    def is_of_another_process(self) -> bool:
        """Return whether nothing was read yet in this process, such as a fork of the one before."""
        return self._owner != os.getpid()

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

    def queued_s(self) -> dict[int, float]:
        """Return by thread the seconds that it was ready to run and had no core; none where the
        system does not tell. Processes are those of the last `read`."""
        found: dict[int, float] = {}
        for pid in self._ours:
            with suppress(OSError, ValueError, IndexError):  # it ended, or nobody counts
                for thread in os.listdir(f"{_PROC}/{pid}/task"):
                    # Nanoseconds on a core, and in the queue for one.
                    counts = _content(f"{_PROC}/{pid}/task/{thread}/schedstat").split()
                    found[int(thread)] = int(counts[1]) / 1e9
        return found

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


def share_taken(others_cores: float, own_cores: float, num_cores: int) -> float:
    """Return the share that others had of the core time that a program was ready to use.

    Args:
        num_cores: that the program may use; on others nobody takes anything from it.
    """
    taken = min(others_cores, max(0.0, num_cores - own_cores))
    return taken / max(own_cores + taken, 1e-9)


CoreTimes = tuple[float, float, float, dict[int, float]]
"""When it was, and until then: core-seconds of ours and of all, and by thread those in a queue."""


class CoresHad(NamedTuple):
    """Who had the cores over a time, on average; None where the system does not tell, or was not
    asked since."""

    own: float
    others: float | None = None
    """Had by other programs, while a thread of ours was ready for one."""
    queued: float | None = None
    """Threads of ours that were ready and had none, because of others or of each other."""


class CoreWatch:
    """What this process and its children had of the cores since it was made, and what others."""

    _last: ClassVar[CoreTimes] = (-math.inf, 0.0, 0.0, {})

    def __init__(self, *, rarely: bool = False) -> None:
        self._rarely = rarely
        self._begin = self._read()

    def cores(self) -> CoresHad:
        """Return who had the cores, on average."""
        (begin_s, own_0, busy_0, queued_0), (end_s, own_1, busy_1, queued_1) = (
            self._begin, self._read(),
        )  # fmt: skip
        if begin_s == end_s:
            return CoresHad(0.0)
        took_s, own_s = max(end_s - begin_s, 1e-9), max(0.0, own_1 - own_0)
        if not queued_1:
            return CoresHad(own_s / took_s)
        queued_s = sum(s - queued_0.get(thread, 0.0) for thread, s in queued_1.items())
        # Threads of ours wait for each other, too: what counts is at most what others worked.
        others_s = max(0.0, min(queued_s, busy_1 - busy_0 - own_s))
        return CoresHad(own_s / took_s, others_s / took_s, max(0.0, queued_s) / took_s)

    def others_share(self, num_cores: int) -> float:
        """Return the share that others had of the core time that we were ready to use."""
        had = self.cores()
        return share_taken(had.others or 0.0, had.own, num_cores)

    def _read(self) -> CoreTimes:
        # An epoch ends where the next begins: the last look serves both.
        fresh_s = RARELY_S if self._rarely else FRESH_S
        if time.perf_counter() - CoreWatch._last[0] > fresh_s or _tree.is_of_another_process():
            own_s, times = _tree.read().cpu_s, psutil.cpu_times()
            busy_s = times.user + times.nice + times.system if hasattr(times, "nice") else 0.0
            queued_s = _tree.queued_s()
            CoreWatch._last = time.perf_counter(), own_s, busy_s, queued_s
        return CoreWatch._last


_tree, _gpu = ProcessTree(), Gpu()


def read_usage(*, rarely: bool = False) -> tuple[float, Usage]:
    """Return what this process, its children and its GPU use, and when that was read.

    Args:
        rarely: what was read `RARELY_S` ago will do.
    """
    usage, (percent, used) = _tree.read(rarely=rarely), _gpu.read()
    return _tree.read_at, usage._replace(gpu_percent=percent, gpu_bytes=used)


def tree_rss_bytes() -> int:
    """Return the resident bytes of this process and its workers; shared pages count each time."""
    return int(_tree.read().rss_bytes)
