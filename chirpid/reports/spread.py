"""Whether jobs of a sweep differ by more than their own epochs do, and who disturbed them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chirpid.reports.sweep import SweepJob

_ERRORS = 3.0
"""A difference counts from this many of its standard errors on: the fastest of many jobs is often
so by luck, and an error is itself not well known from a handful of epochs."""
_WORTH_SAYING_CORES = 0.25
NOT_APART = "cannot be told apart"
VARY = "the epochs of a job vary as much as jobs differ: more of them would tell"


def error_of_mean(values: Sequence[float]) -> float:
    """Return the standard error of the mean of `values`; 0 of a single one, which says nothing."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def told_apart(one: SweepJob, other: SweepJob) -> bool:
    """Return whether the epochs of two jobs differ by more than chance would have it."""
    error_s = math.hypot(one.epoch_error_s, other.epoch_error_s)
    return abs(one.epoch_s - other.epoch_s) > _ERRORS * error_s or error_s == 0


def rivals(jobs: Iterable[SweepJob], first: SweepJob) -> list[SweepJob]:
    """Return the others that were long enough to tell, and may be as fast as the first one."""
    return [job for job in jobs
            if job.is_told and job is not first and not told_apart(job, first)]  # fmt: skip


def title_of(told: Sequence[SweepJob], equal: Sequence[SweepJob], names: Mapping[int, str]) -> str:
    """Return who is the fastest of jobs of which the first has the most samples a second.

    Args:
        equal: others that may be as fast as the first.
    """
    first, last = told[0], told[-1]
    name, rate = names[first.number], f"{first.samples_per_s:.0f} samples/s"
    if len(equal) == len(told) - 1:
        return f"{len(told)} jobs cannot be told apart: {last.samples_per_s:.0f} to {rate}"
    if equal:
        one = names[equal[0].number] if len(equal) == 1 else f"one of {len(equal)} others"
        return f"{name} or {one} is fastest: {rate}"
    return (
        f"{name} is fastest: {rate}, {first.samples_per_s / last.samples_per_s:.2f} × the slowest"
    )


def others_note(jobs: Sequence[SweepJob]) -> str:
    """Return what other programs took from the jobs meanwhile; empty where it hardly matters."""
    most = max((job.others_cores for job in jobs), default=0.0)
    if most < _WORTH_SAYING_CORES:
        return ""
    least = min(job.others_cores for job in jobs)
    cores = f"{most:.1f}" if f"{least:.1f}" == f"{most:.1f}" else f"{least:.1f} to {most:.1f}"
    unit = "core" if cores == "1.0" else "cores"
    return f"other programs took {cores} {unit} meanwhile: compare on a quiet machine"
