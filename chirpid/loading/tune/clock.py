"""How long a part of a probe may still go on."""

from __future__ import annotations

import time


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
