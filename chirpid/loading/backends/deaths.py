"""What is said of a worker that died: how, and what to do."""

from __future__ import annotations

import signal

from chirpid.errors import TrainingError
from chirpid.types import IntArray

_MEMORY = (
    "If memory ran out, lower loader.num_workers or loader.prefetch, or use loader.backend=threads."
)


def how(exit_code: int | None) -> str:
    """Return how a process ended: "killed by SIGKILL", "exit code 3"."""
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"


def advice(exit_code: int | None) -> str:
    """Return what to do about it."""
    if exit_code == -signal.SIGBUS:
        return (
            "Memory or a file it read from was gone: the disk or /dev/shm is full, or a cache was "
            "cut short (chirpid cache verify)."
        )
    if exit_code == -signal.SIGSEGV:
        return "Native code crashed: loader.num_workers=0 shows where."
    if exit_code is not None and exit_code >= 0:
        return "Something in it ended the process: loader.num_workers=0 shows what."
    return _MEMORY


def replaced(number: int, exit_code: int | None, *, had_work: bool) -> str:
    """Return the line for a worker that another has taken the place of."""
    anew = ", its work is done anew" if had_work else ""
    return f"loader worker {number} died ({how(exit_code)}): started again{anew}. " + advice(
        exit_code
    )


def twice(ids: IntArray, exit_code: int | None) -> TrainingError:
    """Return the error for samples that two workers died of."""
    some = ", ".join(map(str, ids[:8].tolist())) + (", ..." if len(ids) > 8 else "")
    return TrainingError(
        f"A loader worker died ({how(exit_code)}) twice while it made the batch of samples "
        f"{some} ({len(ids)} in all). {advice(exit_code)}"
    )


def too_many(num_deaths: int, exit_code: int | None) -> TrainingError:
    """Return the error for workers that die whatever they do."""
    return TrainingError(
        f"A loader worker died ({how(exit_code)}): {num_deaths} deaths in this pass. "
        f"{advice(exit_code)}"
    )
