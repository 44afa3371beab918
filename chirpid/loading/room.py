"""How much memory can still be taken, looked at often and cheaply while batches are handed out.

Whichever ends first counts: the machine's memory, the limits of the control groups, and the limits
of the process itself (`ulimit -v`, `ulimit -d`), at which allocations fail.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from chirpid.loading.hardware import CGROUPS, GIB, OWN_GROUPS, memory_limits
from chirpid.types import size_text

PROC = Path("/proc")
MIB = 2**20
LIMIT_LOOKS = 64
"""The limits of control groups are read anew at every so many looks."""
_FIELD = re.compile(rb"(VmPeak|VmSize|VmHWM|VmRSS|VmData):\s+(\d+)")
_AVAILABLE = re.compile(rb"MemAvailable:\s+(\d+)")
_TOTAL = re.compile(rb"MemTotal:\s+(\d+)")
_FILES = re.compile(rb"(?:^|\n)(total_)?(?:in)?active_file (\d+)")


@dataclass(frozen=True, slots=True)
class Room:
    """What is left below the tightest limit."""

    free_bytes: int
    """At the worst moment: less what a training step has been seen to take and give back."""
    limit_bytes: int
    whose: str = "the machine's"
    """Whose limit it is, for messages: "the container's"."""
    is_address_space: bool = False
    """It counts maps of files, too: rows on a memory map take as much of it as rows in RAM."""

    @property
    def reserve_bytes(self) -> int:
        """What must stay free: a twentieth of the limit, from 64 MiB to 1 GiB.

        Between two looks a run may take so much: a checkpoint, a plot, a library's work space.
        """
        return min(max(self.limit_bytes // 20, 64 * MIB), GIB)

    @property
    def missing_bytes(self) -> int:
        """How much is to be given back; 0 or less if nothing."""
        return self.reserve_bytes - self.free_bytes

    @property
    def text(self) -> str:
        left, limit = size_text(max(0, self.free_bytes)), size_text(self.limit_bytes)
        return f"{left} of {self.whose} {limit} are left"


def fall_per_s(seen: Sequence[tuple[float, Room]]) -> float:
    """Return by how many bytes a second the room has been falling over the last three looks.

    The slower of the two falls counts: a single one is an allocation, not a course.

    Args:
        seen: (time in s, room) of the last looks.
    """
    if len(seen) < 3 or len({(room.whose, room.limit_bytes) for _, room in seen[-3:]}) > 1:
        return 0.0
    falls = [
        (before.free_bytes - after.free_bytes) / max(end - begin, 1e-3)
        for (begin, before), (end, after) in itertools.pairwise(seen[-3:])
    ]
    return max(0.0, min(falls))


@dataclass(slots=True)
class _Swing:
    """How far a figure rises above what it is between two batches."""

    peak: int = 0
    height: int = 0

    def note(self, now: int, peak: int) -> int:
        if peak > self.peak:
            self.height = max(self.height, peak - now)
            self.peak = peak
        return self.height


class MemoryProbe:
    """Reads what is left. It keeps no file open, and one look takes some ten microseconds.

    Args:
        proc, cgroups, own: where the system tells, for tests.
    """

    def __init__(
        self, *, proc: Path = PROC, cgroups: Path = CGROUPS, own: Path = OWN_GROUPS
    ) -> None:
        self.proc, self.cgroups, self.own = proc, cgroups, own
        self.reusable_bytes = 0
        """Address space that the allocator has back and keeps for what is wanted next."""
        self._num_looks = 0
        self._groups: list[_Group] = []
        self._resident, self._size = _Swing(), _Swing()
        self.settle()

    def look(self) -> Room:
        """Return what is left below the limit that ends first."""
        status = self._status()
        resident = self._resident.note(status.get("VmRSS", 0), status.get("VmHWM", 0))
        size = self._size.note(status.get("VmSize", 0), status.get("VmPeak", 0))
        machine = self._machine(resident)
        if self._num_looks % LIMIT_LOOKS == 0:
            found = memory_limits(self.cgroups, self.own)
            limits = [(folder, limit) for folder, limit in found if limit < machine.limit_bytes]
            self._groups = [_Group(folder, limit) for folder, limit in limits]
        self._num_looks += 1
        rooms = [machine, *(group.room(resident) for group in self._groups)]
        rooms += _process_rooms(status, size - self.reusable_bytes)
        return max(rooms, key=lambda room: room.missing_bytes)

    def settle(self) -> None:
        """Forget the peaks so far: they are of the past, not of the training step."""
        status = self._status()
        self._resident.peak = status.get("VmHWM", 0)
        self._size.peak = status.get("VmPeak", 0)

    def _status(self) -> dict[str, int]:
        found = _FIELD.findall(_read(self.proc / "self" / "status"))
        return {name.decode(): int(kib) * 1024 for name, kib in found}

    def _machine(self, swing: int) -> Room:
        text = _read(self.proc / "meminfo")
        free, total = _AVAILABLE.search(text), _TOTAL.search(text)
        if free and total:
            return Room(int(free[1]) * 1024 - swing, int(total[1]) * 1024)
        memory = psutil.virtual_memory()  # no Linux
        return Room(memory.available - swing, memory.total)


@dataclass(slots=True)
class _Group:
    """A control group with a memory limit."""

    folder: Path
    limit_bytes: int
    used: Path = field(init=False)

    def __post_init__(self) -> None:
        names = ("memory.current", "memory.usage_in_bytes")
        self.used = self.folder / next((n for n in names if (self.folder / n).exists()), names[0])

    def room(self, swing: int) -> Room:
        used = int(_read(self.used) or 0)
        free = self.limit_bytes - used - swing
        if free > self.limit_bytes // 2:
            return Room(free, self.limit_bytes, "the container's")
        # Pages of files are counted in it, and given back when memory is wanted.
        return Room(free + self._files(), self.limit_bytes, "the container's")

    def _files(self) -> int:
        found = _FILES.findall(_read(self.folder / "memory.stat"))
        # In version 1 the plain names leave out what groups below hold; the totals do not.
        totals = [int(num) for total, num in found if total]
        return sum(totals or [int(num) for _, num in found])


class _HeapFacts(ctypes.Structure):
    """What mallinfo2(3) returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


@contextlib.contextmanager
def left_clean() -> Iterator[None]:
    """Return to the system what is taken inside, and referred to by nothing but itself in the end.

    Only what is made inside is looked at: of all the objects that torch and MLflow bring, that
    takes a quarter of a second.
    """
    gc.freeze()
    try:
        yield
    finally:
        give_back()
        gc.unfreeze()


def give_back() -> None:
    """Return freed memory to the system: allocators keep it for what comes next."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # the GNU C library has it
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def heap_free_bytes() -> int:
    """Return what the allocator keeps of freed memory, if it tells."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError, TypeError):
        return 0
    ask.restype = _HeapFacts
    return int(ask().fordblks)


def _process_rooms(status: dict[str, int], swing: int) -> list[Room]:
    try:
        import resource
    except ImportError:  # Windows
        return []
    rooms = []
    kinds = (
        (resource.RLIMIT_AS, "VmSize", "the address space's"),
        (resource.RLIMIT_DATA, "VmData", "the data segment's"),
    )
    for kind, name, whose in kinds:
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and name in status:
            rooms.append(Room(limit - status[name] - swing, limit, whose, is_address_space=True))
    return rooms


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, 1 << 16)
    except OSError:
        return b""
    finally:
        os.close(handle)
