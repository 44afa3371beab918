"""Let torch's threads sleep while they wait, where a loader needs their cores.

A thread of GNU OpenMP that waits for others of its team spins for milliseconds, unless OpenMP knows
more threads than cores: then it sleeps at once. It does not know of the loader's threads, which
decode meanwhile, nor of other processes. So a team is kept that does nothing but be counted.
Nothing that is computed changes: neither the number of torch's threads nor who does what.
Source: `gomp_managed_threads` and `gomp_throttled_spin_count_var` of libgomp, GCC 4.4 and later.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Mapping

LEAST_S = 0.01
"""Changes take 0.2 ms, and so come no closer than this."""


class Waits:
    """How OpenMP's threads wait: spinning, as they do by themselves, or asleep.

    Whoever spins is there at once; whoever sleeps leaves the core to others.

    Args:
        num_threads: how many threads torch computes with. A single one waits for nobody.
        num_workers: how many workers of the loader need cores at the same time. Where there are
            cores for all, waiting threads are in nobody's way; and the team, which would have to
            outnumber all the cores, would take 11 ms to make on 192 of them.
    """

    def __init__(self, num_threads: int, num_workers: int) -> None:
        num_cores = _num_cores()
        in_the_way = num_threads > 1 and num_threads + num_workers > num_cores
        self._library = _gomp() if in_the_way and not set_by_user(os.environ) else None
        self._size = team_size(num_threads, num_cores)
        self._team: _SleepingTeam | None = None
        self._changed_s = -LEAST_S

    @property
    def asleep(self) -> bool:
        """Whether they sleep now: never under another OpenMP than GNU's, nor if `set_by_user`."""
        return self._team is not None

    def sleep(self, wanted: bool) -> None:
        """Have them sleep from here on, or spin; not so soon after the last change."""
        if self._library is None or wanted == self.asleep:
            return
        now_s = time.perf_counter()
        if now_s - self._changed_s < LEAST_S:
            return
        self._changed_s = now_s
        if wanted:
            try:
                self._team = _SleepingTeam(self._library, self._size)
            except RuntimeError:  # no thread more can be started: they go on spinning
                self._library = None
        else:
            self.end()

    def end(self) -> None:
        """Have them spin again."""
        team, self._team = self._team, None
        if team is not None:
            team.end()


def set_by_user(environ: Mapping[str, str]) -> bool:
    """Return whether the environment says how OpenMP's threads should wait."""
    return any(name in environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))


def team_size(num_threads: int, num_cores: int) -> int:
    """Return the threads of a team beside which `num_threads` are more than there are cores.

    The thread that makes the team is not counted.
    """
    return max(2, num_cores - num_threads + 2)


class _SleepingTeam:
    """A thread with an OpenMP team of its own, counted until that thread ends."""

    def __init__(self, library: ctypes.CDLL, size: int) -> None:
        self._library, self._size = library, size
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=self._be_counted, name="chirpid-counted", daemon=True
        )
        self._thread.start()
        self._ready.wait()

    def _be_counted(self) -> None:
        nothing = ctypes.cast(self._library.free, ctypes.c_void_p)  # of null: does nothing
        try:
            self._library.GOMP_parallel(nothing, None, ctypes.c_uint(self._size), ctypes.c_uint(0))
        finally:
            self._ready.set()
        self._over.wait()

    def end(self) -> None:
        self._over.set()
        if self._thread is not threading.current_thread():  # the collector may run in any of them
            self._thread.join()


def _num_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _gomp() -> ctypes.CDLL | None:
    """Return the OpenMP that torch has loaded, if it is GNU's."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # there is no such thing as the program itself on Windows
        return None
    # LLVM's and Intel's have the entry points of GNU's, too.
    is_gnu = hasattr(library, "GOMP_parallel") and not hasattr(library, "kmp_set_blocktime")
    return library if is_gnu else None
