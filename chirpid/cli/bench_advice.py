"""`chirpid bench advice`: trains under poor settings, and again as their advice says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from chirpid.bench.auto.following import FollowedRow, follow, starts
from chirpid.bench.auto.workloads import Workload
from chirpid.bench.material import write_recordings
from chirpid.cli.bench_auto import trainings
from chirpid.errors import BenchmarkError
from chirpid.loading.hardware import usable_cores


def measure(
    folder: Path,
    workloads: Sequence[Workload],
    *,
    turns: int,
    duration_s: float,
    say: Callable[[str], None],
) -> list[FollowedRow]:
    """Return the rows of all workloads; one that this machine cannot stage is said and left out."""
    rows: list[FollowedRow] = []
    for workload in workloads:
        say(f"{workload.name}: {workload.about}")
        root = folder / workload.name
        write_recordings(root, workload.kind, workload.recordings, duration_s=duration_s)
        try:
            with trainings(workload, root) as ask:
                for start in starts(usable_cores()):
                    rows.append(follow(workload, start, ask, turns=turns, say=say))
        except BenchmarkError as error:
            if workload.slow_disk is None:
                raise
            say(f"  left out: {error}")
    return rows
