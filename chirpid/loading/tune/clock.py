"""How long a part of a probe may still go on, and what others took of it."""

from __future__ import annotations

import time
from pathlib import Path

_SCHEDULED = Path("/proc/thread-self/schedstat")


class Until:
    """A span of time that begins now.

    Args:
        seconds: how long it is.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._begin_s = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begin_s

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.elapsed_s >= self.seconds


def queued_s() -> float:
    """Return the seconds in which others had the core that this thread was ready for; 0 where the
    system does not tell."""
    try:  # nanoseconds on a core, and in the queue for one
        return int(_SCHEDULED.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
