"""What this machine really has: cores, free memory, GPU, within the limits of its container."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that a plan is clamped to."""

    num_cores: int
    """Logical cores that this process may use."""
    ram_bytes: int
    free_bytes: int
    """Memory that can still be taken, inside the container."""
    gpu: str | None = None
    gpu_bytes: int = 0


def read_machine(device: str = "auto") -> Machine:
    """Return the facts of this machine.

    Args:
        device: "cpu" leaves the GPU out, which saves asking the driver.
    """
    limit = cgroup_memory_limit()
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    if limit is not None and limit < total:
        total, free = limit, min(free, limit - cgroup_memory_used())
    gpu, gpu_bytes = (None, 0) if device == "cpu" else _read_gpu()
    return Machine(
        num_cores=usable_cores(),
        ram_bytes=total,
        free_bytes=max(0, free),
        gpu=gpu,
        gpu_bytes=gpu_bytes,
    )


def usable_cores() -> int:
    """Return the logical cores this process may use: affinity and the container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    quota = cgroup_cores()
    return max(1, min(cores, quota)) if quota else cores


def cgroup_cores(root: Path = _CGROUP) -> int | None:
    """Return the whole cores that the container's CPU quota allows, or None without a quota."""
    text = _read(root / "cpu.max")
    if text:
        quota, _, period = text.partition(" ")
        return None if quota == "max" else max(1, int(quota) // int(period or 100_000))
    old_quota = _read(root / "cpu/cpu.cfs_quota_us")
    old_period = _read(root / "cpu/cpu.cfs_period_us")
    if old_quota and old_period and int(old_quota) > 0:
        return max(1, int(old_quota) // int(old_period))
    return None


def cgroup_memory_limit(root: Path = _CGROUP) -> int | None:
    """Return the container's memory limit in bytes, or None without one."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(root / name)
        if text and text != "max":
            return int(text)
    return None


def cgroup_memory_used(root: Path = _CGROUP) -> int:
    """Return the bytes that the container uses and cannot drop: pages of files are not counted."""
    used = int(_read(root / "memory.current") or _read(root / "memory/memory.usage_in_bytes") or 0)
    stat = _read(root / "memory.stat") or _read(root / "memory/memory.stat") or ""
    fields = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    files = int(fields.get("inactive_file", 0)) + int(fields.get("active_file", 0))
    return max(0, used - files)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _read_gpu() -> tuple[str | None, int]:
    import torch

    if not torch.cuda.is_available():
        return None, 0
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return str(properties.name), int(properties.total_memory)
