"""A process that grows from epoch to epoch, told from one that warms up, jumps once or breathes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from chirpid.types import FloatArray, size_text

MIB = 2**20
MIN_GROWTH_BYTES = 16 * MIB
"""Allocators keep and give back some MiB from epoch to epoch; what stays below is no leak."""
MIN_SHARE = 0.02
"""Of what the process takes at first: a large one breathes more."""
MIN_POINTS = 12
"""A third of them must show a slope of its own."""
MAX_POINTS = 60
"""When so many are kept, every other is dropped: the memory of a run of any length."""
STEADY = 0.75
"""The last third must grow at least at this share of the pace of the first. A cache that fills or
an allocator that settles slows down more: a square root to 0.65, a logarithm to 0.43."""
EVEN = 0.25
"""The slowest third must grow at least at this share of the pace of the fastest: a jump is in one
of them."""
RISING = 0.8
"""Share of the neighbours that do not fall: steps up and down are no leak."""
MIN_GAP_S = 1.0
"""Looking at all processes takes milliseconds: epochs that are shorter share a look."""


@dataclass(slots=True)
class Series:
    """The memory of one process over epochs; at most `MAX_POINTS` of them, evenly spread."""

    epochs: list[int] = field(default_factory=list)
    num_bytes: list[int] = field(default_factory=list)
    every: int = 1
    _num_seen: int = 0

    def add(self, epoch: int, num_bytes: int) -> bool:
        """Take a figure; return whether it was kept."""
        self._num_seen += 1
        if (self._num_seen - 1) % self.every:
            return False
        self.epochs.append(epoch)
        self.num_bytes.append(num_bytes)
        if len(self.epochs) > MAX_POINTS:
            self.epochs, self.num_bytes = self.epochs[::2], self.num_bytes[::2]
            self.every *= 2
        return True


def growth_per_epoch(epochs: FloatArray, num_bytes: FloatArray) -> float | None:
    """Return by how many bytes an epoch a process grows, or None if it does not.

    The first quarter is left out as warm-up. The slope is the median of the slopes of all pairs
    (Theil, 1950; Sen, 1968), which a jump or an outlier does not move. It counts if the growth is
    large, if it hardly ever falls back, and if each third of the epochs has its part in it.
    """
    first = len(epochs) // 4
    epochs, num_bytes = epochs[first:], num_bytes[first:]
    if len(epochs) < MIN_POINTS:
        return None
    third = len(epochs) // 3
    begin, end = np.median(num_bytes[:third]), np.median(num_bytes[-third:])
    if end - begin < max(MIN_GROWTH_BYTES, MIN_SHARE * begin):
        return None
    if float(np.mean(np.diff(num_bytes) >= 0)) < RISING:
        return None
    parts = [slice(0, third + 1), slice(third, 2 * third + 1), slice(-third - 1, None)]
    paces = [slope_of(epochs[part], num_bytes[part]) for part in parts]
    if min(paces) <= EVEN * max(paces) or paces[-1] < STEADY * paces[0]:
        return None
    return slope_of(epochs, num_bytes)


def slope_of(x: FloatArray, y: FloatArray) -> float:
    """Return the median slope of all pairs of points."""
    left, right = np.triu_indices(len(x), k=1)
    return float(np.median((y[right] - y[left]) / (x[right] - x[left])))


@dataclass(slots=True)
class LeakWatch:
    """Names each process that grows with the epochs, once, and again when it has doubled."""

    series: dict[str, Series] = field(default_factory=dict)
    _told: dict[str, float] = field(default_factory=dict)

    def note(self, epoch: int, processes: Mapping[str, int]) -> list[str]:
        """Take the bytes of each process after an epoch; return a line for each that leaks.

        Args:
            epoch: a number that rises, over all folds.
            processes: own bytes by the name of the process. One that is gone is forgotten.
        """
        self.series = {name: self.series.get(name, Series()) for name in processes}
        lines = []
        for name, num_bytes in processes.items():
            series = self.series[name]
            if not series.add(epoch, num_bytes) or num_bytes < self._told.get(name, 0):
                continue
            points = np.array([series.epochs, series.num_bytes], dtype=np.float64)
            pace = growth_per_epoch(*points)
            if pace is not None:
                lines.append(_line(name, pace, series))
                self._told[name] = 2 * num_bytes
        return lines


def _line(name: str, pace: float, series: Series) -> str:
    whole = f"{size_text(series.num_bytes[0])} to {size_text(series.num_bytes[-1])}"
    where = (
        "a dataset or a transform that keeps what it made"
        if name.startswith("loader worker")
        else "something kept from batch to batch, such as a loss that is not detached"
    )
    return (
        f"memory leak: {name} grows by {size_text(pace)} an epoch ({whole} from epoch "
        f"{series.epochs[0] + 1} to {series.epochs[-1] + 1}). Look for {where}"
    )


class ProcessMemory:
    """Reads what each process of the run holds for itself, at most once a second."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def read(self) -> dict[str, int] | None:
        """Return own bytes by process, or None if it is too early to look again."""
        now = time.monotonic()
        if now < self._next_s:
            return None
        names = {os.getpid(): "the training process"}
        for child in multiprocessing.active_children():
            if child.pid is not None:
                number = child.name.removeprefix("chirpid-load-")
                loads = number != child.name
                names[child.pid] = f"loader worker {number}" if loads else f"process {child.name}"
                names[child.pid] += f" (pid {child.pid})"
        found = {name: own_bytes(pid) for pid, name in names.items()}
        self._next_s = time.monotonic() + MIN_GAP_S
        return {name: num_bytes for name, num_bytes in found.items() if num_bytes is not None}


def own_bytes(pid: int) -> int | None:
    """Return what a process holds beside files and shared memory; None if it is gone.

    Rows in shared memory and pages of caches count for nobody: workers touch more of them with
    every batch, and that is no leak.
    """
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        pass
    try:  # no Linux
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
