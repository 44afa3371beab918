"""How busy the machine is, in MLflow's own names, so that its page of system metrics shows it.

Sampled by the process that sends, never by the training. The samples go into a journal of their
own beside the training's: they too reach a server that was away, and a later `chirpid sync`.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from chirpid.tracking.journal import JOURNAL, JournalWriter, read_events

SYSTEM_JOURNAL = "tracking.system.jsonl"
_FIRST_S = 1.0
_LEAST_S = 0.5  # a last sample sooner than this after another would say nothing
_HAS_IO = hasattr(psutil.Process, "io_counters")
_MB = 1e6  # MLflow's names say megabytes and mean powers of ten


def pauses_s(every_s: float) -> list[float]:
    """Return the first pauses between samples: short runs have something to show, too."""
    found, pause_s = [], min(_FIRST_S, every_s)
    while pause_s < every_s:
        found.append(pause_s)
        pause_s *= 2
    return found


class Machine:
    """Reads the machine and one process with all it started.

    Args:
        pid: of the training.
        disk: a folder on the disk whose fill is told.
    """

    def __init__(self, pid: int, disk: Path) -> None:
        self._pid, self._disk = pid, disk
        self._read_s = time.monotonic()
        self._cpu_s: dict[int, float] = {}
        self._received, self._sent = _network_bytes()
        self._gpus = _gpu_handles()
        psutil.cpu_percent()  # counts from the call before
        self._training()

    def read(self) -> dict[str, float]:
        """Return the figures since the last call, without the prefix `system/`."""
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._disk))
        received, sent = _network_bytes()
        figures = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MB,
            "system_memory_usage_percentage": 100 * memory.used / memory.total,
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / _MB,
            "disk_available_megabytes": disk.free / _MB,
            "network_receive_megabytes": (received - self._received) / _MB,
            "network_transmit_megabytes": (sent - self._sent) / _MB,
        }
        return {n: round(v, 3) for n, v in (figures | self._training() | self._gpu()).items()}

    def _training(self) -> dict[str, float]:
        """Return what the training and its workers take; 100 % is one core."""
        now_s = time.monotonic()
        elapsed_s, self._read_s = now_s - self._read_s, now_s
        cpu_s, before = dict[int, float](), self._cpu_s
        rss = read = 0
        for process in self._processes():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    rss += process.memory_info().rss
                    # Not on macOS, where psutil has no such figure.
                    read += process.io_counters().read_bytes if _HAS_IO else 0
                cpu_s[process.pid] = times.user + times.system
            except psutil.Error:  # it ended meanwhile
                continue
        self._cpu_s = cpu_s
        spent_s = sum(seconds - before.get(pid, 0.0) for pid, seconds in cpu_s.items())
        return {"training_cpu_percentage": 100 * spent_s / max(elapsed_s, 1e-9),
                "training_memory_megabytes": rss / _MB,
                "training_disk_read_megabytes": read / _MB}  # fmt: skip

    def _processes(self) -> list[psutil.Process]:
        try:
            training = psutil.Process(self._pid)
            mine = {os.getpid(), *(p.pid for p in psutil.Process().children(recursive=True))}
            return [training, *(p for p in training.children(recursive=True) if p.pid not in mine)]
        except psutil.Error:
            return []

    def _gpu(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for i, handle in enumerate(self._gpus):
            figures |= {f"gpu_{i}_{name}": value for name, value in _gpu_figures(handle).items()}
        return figures


def _network_bytes() -> tuple[int, int]:
    """Return the bytes received and sent so far; none where there is no network at all."""
    network = psutil.net_io_counters()
    return (network.bytes_recv, network.bytes_sent) if network else (0, 0)


def _gpu_handles() -> list[Any]:
    try:
        import pynvml

        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # noqa: BLE001 - no library, no driver, no GPU: each raises its own kind
        return []


def _gpu_figures(handle: Any) -> dict[str, float]:
    """Return what a GPU tells; a virtual one does not tell everything."""
    import pynvml as nv

    found: dict[str, float] = {}
    try:
        memory = nv.nvmlDeviceGetMemoryInfo(handle)
        found["memory_usage_megabytes"] = memory.used / _MB
        found["memory_usage_percentage"] = 100 * memory.used / memory.total
        found["utilization_percentage"] = nv.nvmlDeviceGetUtilizationRates(handle).gpu
        watts = nv.nvmlDeviceGetPowerUsage(handle) / 1000
        found["power_usage_watts"] = watts
        limit = nv.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        found["power_usage_percentage"] = 100 * watts / limit
    except nv.NVMLError:
        pass
    return found


class SystemSampler(threading.Thread):
    """Writes a sample to the journal of the machine now and then, until it is told to stop."""

    def __init__(self, folder: Path, pid: int, disk: Path, every_s: float) -> None:
        super().__init__(name="system metrics", daemon=True)
        self._folder, self._pid, self._disk, self._every_s = folder, pid, disk, every_s
        self._halt = threading.Event()

    def finish(self) -> None:
        """Take a last sample and end."""
        self._halt.set()
        self.join()

    def run(self) -> None:
        """Sample; the points of a resumed training go on counting."""
        path = self._folder / SYSTEM_JOURNAL
        step = sum(1 for _ in read_events(path)) if path.exists() else 0
        machine, journal = Machine(self._pid, self._disk), JournalWriter(path)
        early, run = pauses_s(self._every_s), None
        while True:
            begin = time.monotonic()
            stopping = self._halt.wait(early.pop(0) if early else self._every_s)
            run = run or training_run(self._folder)
            if run is not None and time.monotonic() - begin >= min(_LEAST_S, self._every_s):
                values = {f"system/{name}": value for name, value in machine.read().items()}
                journal.append({"kind": "metrics", "run": run, "step": step, "values": values})
                step += 1
            if stopping:
                journal.close()
                return


def training_run(folder: Path) -> str | None:
    """Return our id of the run that the folder is about: the first that it shares with nobody."""
    for event, _ in read_events(folder / JOURNAL):
        if event and event["kind"] == "start" and not event["shared"]:
            return str(event["run"])
    return None
