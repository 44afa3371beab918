"""What this machine really has: cores, free memory, GPU, within the limits of its container."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from chirpid.loading.topology import allowed_cores, physical_cores

if sys.platform == "linux":
    import resource

GIB = 2**30
CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
"""Which control groups this process is in."""
_NO_LIMIT = 2**60
"""Version 1 writes a number of bytes that no machine has where there is no limit."""


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
    num_physical_cores: int | None = None
    """Physical cores behind `num_cores`, before any quota; None where the system does not tell."""


def read_machine(device: str = "auto") -> Machine:
    """Return the facts of this machine.

    Args:
        device: "cpu" leaves the GPU out, which saves asking the driver.
    """
    memory = psutil.virtual_memory()
    limit = cgroup_memory_limit()
    total = memory.total if limit is None else min(memory.total, limit)
    left = (memory.available, cgroup_memory_free(), process_memory_free())
    free = min(num_bytes for num_bytes in left if num_bytes is not None)
    gpu, gpu_bytes = (None, 0) if device == "cpu" else _read_gpu()
    return Machine(
        num_cores=usable_cores(),
        ram_bytes=total,
        free_bytes=max(0, free),
        gpu=gpu,
        gpu_bytes=gpu_bytes,
        num_physical_cores=physical_cores(),
    )


def usable_cores() -> int:
    """Return the logical cores this process may use: affinity and the container's quota."""
    allowed = allowed_cores()
    cores = (os.cpu_count() or 1) if allowed is None else len(allowed)
    quota = cgroup_cores()
    return max(1, min(cores, quota)) if quota else cores


def cgroup_cores(root: Path = CGROUPS, own: Path = OWN_GROUPS) -> int | None:
    """Return the whole cores that the tightest CPU quota allows, or None without a quota."""
    cores = []
    for folder in _groups(root, own, "cpu"):
        quota, _, period = (_read(folder / "cpu.max") or "").partition(" ")
        if not quota:
            quota = _read(folder / "cpu.cfs_quota_us") or ""
            period = _read(folder / "cpu.cfs_period_us") or ""
        if quota.isdecimal():  # not "max", and not -1
            cores.append(max(1, int(quota) // int(period or 100_000)))
    return min(cores, default=None)


def cgroup_memory_limit(root: Path = CGROUPS, own: Path = OWN_GROUPS) -> int | None:
    """Return the tightest memory limit in bytes, or None without one."""
    limits = [limit for _, limit in memory_limits(root, own)]
    return min(limits, default=None)


def cgroup_memory_free(root: Path = CGROUPS, own: Path = OWN_GROUPS) -> int | None:
    """Return the bytes that can still be taken below the tightest limit, or None without one."""
    return min((limit - _memory_used(f) for f, limit in memory_limits(root, own)), default=None)


def memory_limits(root: Path = CGROUPS, own: Path = OWN_GROUPS) -> list[tuple[Path, int]]:
    """Return the control groups of this process that have a memory limit, each with its bytes."""
    limits = []
    for folder in _groups(root, own, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text and text.isdecimal() and int(text) < _NO_LIMIT:
                limits.append((folder, int(text)))
    return limits


def process_memory_free() -> int | None:
    """Return the bytes that this process may still take, or None without a limit of its own.

    `ulimit -v` and `ulimit -d` set one, and so do some batch systems.
    """
    if sys.platform != "linux":
        return None
    used = psutil.Process().memory_info()
    limits = ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, used.data))
    left = [(resource.getrlimit(kind)[0], num_bytes) for kind, num_bytes in limits]
    ends = [limit - num_bytes for limit, num_bytes in left if limit != resource.RLIM_INFINITY]
    return min(ends, default=None)


def _memory_used(folder: Path) -> int:
    """Return the bytes a group uses and cannot drop: pages of files are not counted."""
    used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes") or "0"
    stat = _read(folder / "memory.stat") or ""
    fields = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    # In version 1 the plain names leave out what groups below hold; the totals do not.
    files = sum(
        int(fields.get(f"total_{name}", fields.get(name, 0)))
        for name in ("inactive_file", "active_file")
    )
    return max(0, int(used) - files)


def _groups(root: Path, own: Path, controller: str) -> list[Path]:
    """Return the folders of this process's control groups, each up to the root, that exist.

    Each level may set a limit: a container at the root, a batch system or a service below it.
    """
    folders = [root, root / controller]
    for line in (_read(own) or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:  # version 2: one tree for all
            top = root
        elif controller in names.split(","):
            top = root / controller
        else:
            continue
        below = PurePosixPath(path.lstrip("/"))
        if ".." not in below.parts:
            folders += [top / part for part in (below, *below.parents)]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


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
