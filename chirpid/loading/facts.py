"""All that can be found out about this machine, for people and for bug reports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chirpid.loading.disks import Disk, read_disk
from chirpid.loading.gpus import CopyRates, Gpu, copy_rates, read_gpus
from chirpid.loading.hardware import (
    Machine,
    cgroup_cores,
    cgroup_memory_limit,
    process_memory_free,
    read_machine,
)
from chirpid.loading.topology import Node, numa_nodes
from chirpid.types import size_text

WORTH_PINNING = 1.2
"""Copies that are so much faster from page-locked memory are worth locking it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found. A plan needs `machine` alone."""

    machine: Machine
    software: dict[str, str]
    """Versions and names, as a run logs them, and the CUDA that torch was built with."""
    num_logical_cores: int
    """Of the whole machine; `machine.num_cores` are usable."""
    cgroup_cores: int | None
    cgroup_bytes: int | None
    nodes: tuple[Node, ...]
    gpus: tuple[Gpu, ...]
    disks: tuple[Disk, ...]
    rates: CopyRates | None = None
    """None: not measured."""
    process_bytes: int | None = None
    """Memory left to this process by limits of its own; None without one."""

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield (subject, what was found), a line each."""
        yield "software", self._software()
        yield "processor", self._processor()
        yield "limits", self._limits()
        machine = self.machine
        yield "memory", f"{size_text(machine.ram_bytes)}, {size_text(machine.free_bytes)} free"
        yield "NUMA", _told_nodes(self.nodes)
        if not self.gpus:
            yield "GPU", "none"
        for number, gpu in enumerate(self.gpus):
            yield f"GPU {number}", _told_gpu(gpu)
        if self.rates is not None:
            yield "pinning", _told_rates(self.rates)
        elif machine.gpu is not None:
            yield "pinning", "not measured; --measure does"
        for disk in self.disks:
            yield f"disk of {disk.path}", _told_disk(disk)
        yield "kernels", self.software["kernels"]

    def plain(self) -> dict[str, Any]:
        """Return all facts as JSON takes them; sizes in bytes, rates in bytes per second."""
        facts = asdict(self)
        for disk in facts["disks"]:
            disk["path"] = str(disk["path"])
        return facts

    def _software(self) -> str:
        names = [n for n in ("chirpid", "python", "torch", "cuda") if n in self.software]
        system = self.software.get("platform", "an unknown system")
        return f"{', '.join(f'{n} {self.software[n]}' for n in names)} on {system}"

    def _processor(self) -> str:
        physical, cores = self.machine.num_physical_cores, self.machine.num_cores
        name = self.software.get("cpu", "unknown")
        behind = "" if physical is None else f" of {physical} physical cores"
        return f"{name}; {self.num_logical_cores} threads, {cores} usable{behind}"

    def _limits(self) -> str:
        found = []
        if self.cgroup_cores is not None:
            found.append(f"{self.cgroup_cores} cores")
        if self.cgroup_bytes is not None:
            found.append(size_text(self.cgroup_bytes))
        told = f"{', '.join(found)} by control group" if found else "no control group sets any"
        if self.process_bytes is not None:
            told += f"; {size_text(self.process_bytes)} left by ulimit"
        return told


def read_facts(paths: Iterable[Path] = (), *, measure: bool = False) -> Facts:
    """Return the facts of this machine.

    Args:
        paths: whose disks to look at.
        measure: copy to the GPU, if there is one, to see what page-locked memory brings.
    """
    import torch

    from chirpid.tracking.environment import environment

    return Facts(
        machine=read_machine(),
        software=environment() | {"cuda": torch.version.cuda or "none"},
        num_logical_cores=os.cpu_count() or 1,
        cgroup_cores=cgroup_cores(),
        cgroup_bytes=cgroup_memory_limit(),
        nodes=tuple(numa_nodes()),
        gpus=tuple(read_gpus()),
        disks=tuple(read_disk(path) for path in paths),
        rates=copy_rates() if measure else None,
        process_bytes=process_memory_free(),
    )


def _told_nodes(nodes: Sequence[Node]) -> str:
    if not nodes:
        return "this system does not tell"
    if len(nodes) == 1:
        return "1 node"
    each = (
        f"{node.number} (cores {_ranges(node.cores)}"
        + ("" if node.ram_bytes is None else f", {size_text(node.ram_bytes)}")
        + ")"
        for node in nodes
    )
    return f"{len(nodes)} nodes: {', '.join(each)}"


def _told_gpu(gpu: Gpu) -> str:
    parts = [gpu.name, size_text(gpu.ram_bytes)]
    if gpu.free_bytes is not None:
        parts.append(f"{size_text(gpu.free_bytes)} free")
    if gpu.capability:
        parts.append(f"compute capability {gpu.capability}")
    if gpu.driver:
        parts.append(f"driver {gpu.driver}")
    if gpu.node is not None:
        parts.append(f"on NUMA node {gpu.node}")
    told = ", ".join(parts)
    return told if gpu.usable else f"{told}; the driver sees it, torch cannot use it"


def _told_rates(rates: CopyRates) -> str:
    return (
        f"{rates.pinned / 1e9:.1f} GB/s to the GPU from page-locked memory, "
        f"{rates.pageable / 1e9:.1f} GB/s from other"
    )


def _told_disk(disk: Disk) -> str:
    told = f"{disk.kind.value}: {disk.reason}"
    if disk.filesystem:
        told += f"; {disk.filesystem}"
    if disk.free_bytes is not None and disk.total_bytes is not None:
        told += f", {size_text(disk.free_bytes)} free of {size_text(disk.total_bytes)}"
    return told


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as the kernel writes them: "0-3,8"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)
