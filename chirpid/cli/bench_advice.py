"""`chirpid bench advice`: trains under poor settings, and again as their advice says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from chirpid.bench.auto.following import FollowedRow, follow, starts
from chirpid.bench.auto.search import Ask
from chirpid.bench.auto.workloads import Workload
from chirpid.cli.bench_auto import staged
from chirpid.loading.hardware import usable_cores


def measure(
    folder: Path,
    workloads: Sequence[Workload],
    *,
    turns: int,
    duration_s: float,
    say: Callable[[str], None],
) -> list[FollowedRow]:
    """Return the rows of every start on every workload; see `staged`."""

    def one(workload: Workload, ask: Ask) -> list[FollowedRow]:
        return [
            follow(workload, start, ask, turns=turns, say=say) for start in starts(usable_cores())
        ]

    return staged(folder, workloads, one, duration_s=duration_s, say=say)
