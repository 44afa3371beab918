"""How cores and memory hang together: physical cores, NUMA nodes, and where a GPU is attached.

Everything is read from `/sys`, without rights; what a system does not tell is None or empty.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

SYSTEM = Path("/sys")


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node: cores with memory of their own."""

    number: int
    cores: tuple[int, ...]
    ram_bytes: int | None = None
    free_bytes: int | None = None


def allowed_cores() -> set[int] | None:
    """Return the numbers of the logical cores that this process may use, where that is told."""
    affinity = getattr(os, "sched_getaffinity", None)
    return set(affinity(0)) if affinity else None


def physical_cores(system: Path = SYSTEM, allowed: set[int] | None = None) -> int | None:
    """Return how many physical cores are behind the logical ones that may be used.

    Args:
        allowed: numbers of logical cores; None takes those of this process.
    """
    numbers = allowed_cores() if allowed is None else allowed
    if numbers is None:
        count: int | None = psutil.cpu_count(logical=False)  # macOS
        return count
    found = set()
    for number in numbers:
        folder = system / f"devices/system/cpu/cpu{number}/topology"
        core = _text(folder / "core_id")
        if core is None:
            return None
        found.add((_text(folder / "physical_package_id"), _text(folder / "die_id"), core))
    return len(found) or None


def numa_nodes(system: Path = SYSTEM) -> list[Node]:
    """Return the NUMA nodes that are online, in order; none where the system does not tell."""
    root = system / "devices/system/node"
    nodes = []
    for number in parse_list(_text(root / "online") or ""):
        sizes = _text(root / f"node{number}/meminfo") or ""
        cores = parse_list(_text(root / f"node{number}/cpulist") or "")
        ram, free = _kilobytes(sizes, "MemTotal"), _kilobytes(sizes, "MemFree")
        nodes.append(Node(number, tuple(cores), ram, free))
    return nodes


def node_of_pci(address: str, system: Path = SYSTEM) -> int | None:
    """Return the NUMA node that a PCI device hangs on.

    Args:
        address: such as "0000:01:00.0"; NVIDIA's library writes eight digits in front.
    """
    domain, _, rest = address.lower().partition(":")
    text = _text(system / f"bus/pci/devices/{domain[-4:]}:{rest}/numa_node")
    # -1: the firmware does not say.
    return int(text) if text and re.fullmatch(r"\d+", text) else None


def parse_list(text: str) -> list[int]:
    """Return the numbers of the kernel's lists: "0-3,8" is 0, 1, 2, 3, 8."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal():
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def _kilobytes(text: str, name: str) -> int | None:
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return None
