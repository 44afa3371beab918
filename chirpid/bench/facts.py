"""What the figures were measured on, and who else was using it."""

from __future__ import annotations

import os
import platform
import resource
import time
from pathlib import Path

import psutil

from chirpid.loading.hardware import usable_cores


def machine() -> dict[str, object]:
    """Return the facts that belong beside every figure."""
    import torch

    from chirpid.bench.plain import libsndfile_version

    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": os.getloadavg()[0],
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "libsndfile": libsndfile_version(),
        "native": _native(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _native() -> str:
    from chirpid import native

    return native.describe()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class Witness:
    """Tells how many cores other programs used while the block ran."""

    def __init__(self) -> None:
        self.others_cores = 0.0

    def __enter__(self) -> Witness:
        self._begin = (time.monotonic(), _all_cpu_s(), own_cpu_s())
        return self

    def __exit__(self, *exc: object) -> None:
        begin_s, all_s, own_s = self._begin
        others = (_all_cpu_s() - all_s) - (own_cpu_s() - own_s)
        self.others_cores = max(0.0, others / max(time.monotonic() - begin_s, 1e-9))


def _all_cpu_s() -> float:
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in
                     ("user", "system", "irq", "softirq", "steal")))  # fmt: skip


def own_cpu_s() -> float:
    """Return CPU seconds of this process and of all below it, those that have ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:  # it ended meanwhile, and counts with its parent
            continue
        total += times.user + times.system
        total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total
