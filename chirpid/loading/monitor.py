"""Where the time of an epoch goes, seen from the training loop.

The clock runs around `next()`: what comes after the batch arrived is not loading.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import psutil

from chirpid.types import Batch, FloatArray

MIB = 2**20


@dataclass(slots=True)
class EpochMonitor:
    """Measures one pass over the batches."""

    asked_s: list[float] = field(default_factory=list)
    got_s: list[float] = field(default_factory=list)
    stepped_s: list[float] = field(default_factory=list)
    num_samples: int = 0
    num_bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    transfer_s: float = 0.0
    own_s: float = 0.0
    """Seconds that measuring itself took, the probes before and after the epoch included."""
    _zero: float = 0.0
    _waited_s: float = 0.0
    _disk_bytes: int = 0
    _cpu_s: float = 0.0
    _gpu: GpuProbe = field(default_factory=lambda: GpuProbe())

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the batches; the time between two is taken as the step of the first."""
        self._zero = time.perf_counter()
        self._disk_bytes, self._cpu_s = _disk_bytes(), _cpu_seconds()
        self.own_s += time.perf_counter() - self._zero
        source = iter(batches)
        while True:
            asked = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            got = time.perf_counter()
            yield batch
            stepped = time.perf_counter()
            self._note(batch, asked, got, stepped)
            self.own_s += time.perf_counter() - stepped

    def _note(self, batch: Batch, asked: float, got: float, stepped: float) -> None:
        self.asked_s.append(asked - self._zero)
        self.got_s.append(got - self._zero)
        self.stepped_s.append(stepped - self._zero)
        self._waited_s += got - asked
        self.num_samples += len(batch)
        self.num_bytes += batch.inputs.nbytes
        for name, amount in batch.stages.items():
            self.stages[name] = self.stages.get(name, 0.0) + amount
        self._gpu.sample(stepped)

    @property
    def timeline(self) -> FloatArray:
        """Seconds from the start, [batches, 3]: asked, got, step done."""
        return np.array([self.asked_s, self.got_s, self.stepped_s], dtype=np.float64).T

    @property
    def elapsed_s(self) -> float:
        """Seconds from the start to the end of the last step."""
        return self.stepped_s[-1] if self.stepped_s else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time so far that the loop waited for batches."""
        return self._waited_s / max(self.elapsed_s, 1e-9)

    def summary(self) -> dict[str, float]:
        """Return the figures of the epoch, named as in MLflow; none if it had no batch."""
        if not self.stepped_s:
            return {}
        begin = time.perf_counter()
        disk_bytes, cpu_s, rss = _disk_bytes(), _cpu_seconds(), tree_rss_bytes()
        self.own_s += time.perf_counter() - begin
        timeline = self.timeline
        wait_ms = (timeline[:, 1] - timeline[:, 0]) * 1e3
        step_ms = (timeline[:, 2] - timeline[:, 1]) * 1e3
        elapsed = max(self.elapsed_s, 1e-9)
        p50, p95, p99 = np.percentile(wait_ms, [50, 95, 99])
        figures = {
            "loader/wait_ms_mean": float(wait_ms.mean()),
            "loader/wait_ms_p50": float(p50),
            "loader/wait_ms_p95": float(p95),
            "loader/wait_ms_p99": float(p99),
            "loader/wait_share": float(wait_ms.sum() / 1e3 / elapsed),
            "loader/first_batch_s": float(wait_ms[0] / 1e3),
            # Share of the requests that found their batch ready.
            "loader/occupancy": float((wait_ms < 0.1 * step_ms.mean()).mean()),
            "loader/samples_per_s": self.num_samples / elapsed,
            "loader/bytes_per_s": self.num_bytes / elapsed,
            "loader/step_ms": float(step_ms.mean()),
            "loader/transfer_ms": self.transfer_s * 1e3 / len(wait_ms),
            "loader/monitor_share": self.own_s / elapsed,
            # Workers that ended meanwhile took their counts with them.
            "loader/disk_mib": max(0, disk_bytes - self._disk_bytes) / MIB,
            "loader/cpu_share": max(0.0, cpu_s - self._cpu_s) / elapsed,
            "loader/rss_mib": rss / MIB,
        }
        for name, amount in self.stages.items():
            if name.startswith("num_"):
                figures[f"loader/{name}"] = amount
            else:
                figures[f"loader/{name}_ms_per_sample"] = amount * 1e3 / max(self.num_samples, 1)
        return figures | self._gpu.summary()


class GpuProbe:
    """Utilisation and memory of the GPU that torch uses, asked for once a second; else nothing."""

    def __init__(self, every_s: float = 1.0) -> None:
        self.every_s = every_s
        self._next_s = 0.0
        self._busy: list[float] = []
        self._used_bytes = 0

    def sample(self, now_s: float) -> None:
        """Ask, if it is time to and torch has a GPU in use."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + self.every_s
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return
        import pynvml

        free, total = torch.cuda.mem_get_info()
        self._used_bytes = max(self._used_bytes, total - free)
        try:
            self._busy.append(float(torch.cuda.utilization()))
        except (pynvml.NVMLError, RuntimeError):  # a driver without counters, as in containers
            self._next_s = float("inf")

    def summary(self) -> dict[str, float]:
        """Return the mean utilisation in percent and the most memory in use."""
        figures = {"loader/gpu_memory_mib": self._used_bytes / MIB} if self._used_bytes else {}
        if self._busy:
            figures["loader/gpu_percent"] = float(np.mean(self._busy))
        return figures


def tree_rss_bytes() -> int:
    """Return the resident bytes of this process and its workers; shared pages count each time."""
    total = 0
    for process in _tree():
        try:
            total += process.memory_info().rss
        except psutil.Error:  # a worker that ended meanwhile
            continue
    return total


def _tree() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _disk_bytes() -> int:
    """Return bytes read from disks so far, page cache hits excluded, where the system tells."""
    total = 0
    for process in _tree():
        try:
            total += process.io_counters().read_bytes if hasattr(process, "io_counters") else 0
        except psutil.Error:
            continue
    return total


def _cpu_seconds() -> float:
    """Return CPU seconds of this process and its workers so far."""
    total = 0.0
    for process in _tree():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total
