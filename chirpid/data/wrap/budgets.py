"""How much memory a wrapper may take: bytes, a text for people, or a share of what is free."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

from chirpid.errors import ConfigError

Memory = int | float | str
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
          "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}  # fmt: skip
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt]i?)?b?|(%))\s*", re.IGNORECASE)
_GROUP = Path("/sys/fs/cgroup")


def bytes_of(memory: Memory, *, name: str = "max_memory_usage") -> int:
    """Return a bound as bytes.

    Args:
        memory: bytes; a text such as "2 GiB", "500 MB" or "25%"; or a share of the free memory,
            a float above 0 and up to 1.
        name: what the setting is called, for messages.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(memory, float) and 0 < memory <= 1:
        return int(memory * free_bytes())
    if isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
        return memory
    found = _TEXT.fullmatch(memory) if isinstance(memory, str) else None
    if found is not None and float(found[1]) > 0:
        if not found[3]:
            return int(float(found[1]) * _UNITS[(found[2] or "").lower()])
        if float(found[1]) <= 100:
            return int(float(found[1]) / 100 * free_bytes())
    raise ConfigError(
        f"{name}={memory!r} is no amount of memory. Give bytes above 0, a text such as '2 GiB', or "
        "a share of the free memory above 0 and up to 1, such as 0.25."
    )


def free_bytes() -> int:
    """Return the memory that is free, for the container too that this process may be in."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = int((_GROUP / "memory.max").read_text())
        used = int((_GROUP / "memory.current").read_text())
        files = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no limit, no container, or groups of the old kind
        return free
    # Pages of files count as used, and are given up when memory is asked for.
    return max(0, min(free, limit - used + int(files.get("inactive_file", 0))))
