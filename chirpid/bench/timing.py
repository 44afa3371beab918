"""Time of `next()`, repeated in turns, so that a busy machine is busy for everyone."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chirpid.loading.hardware import usable_cores

Pass = Callable[[int], Iterator[object]]
"""Called with a seed, gives the batches of one pass."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way of doing a work."""

    work: str
    name: str
    run: Pass
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Row:
    """What a case came to; the names are those of the JSON."""

    work: str
    case: str
    median_s: float
    """Seconds of a pass, the median over repetitions."""
    spread: tuple[float, float]
    """The fastest and the slowest pass."""
    samples_per_s: float
    ratio: float
    """How many times faster than the baseline: the median of the ratios within repetitions."""
    baseline: str
    percent_of_limit: float


def time_of_pass(batches: Iterator[object]) -> float:
    """Return the seconds spent in `next()` until the pass ends."""
    spent = 0.0
    while True:
        begin = time.perf_counter()
        batch = next(batches, None)
        spent += time.perf_counter() - begin
        if batch is None:
            return spent


def compare(
    cases: Sequence[Case],
    *,
    baseline: str,
    limit: str,
    num_samples: int,
    seeds: Sequence[int],
    say: Callable[[str], None],
) -> list[Row]:
    """Return a row per case, all timed in turns: case after case, then the next seed.

    The first turn is not counted: it fills caches and starts workers.

    Args:
        baseline: name of the case that ratios are against.
        limit: name of the case that no loader can beat.
    """
    spent: dict[str, list[float]] = {case.name: [] for case in cases}
    for turn, seed in enumerate([seeds[0], *seeds]):
        for case in cases:
            seconds = time_of_pass(case.run(seed))
            if turn:
                spent[case.name].append(seconds)
        say(f"  {cases[0].work}: turn {turn} of {len(seeds)}")
    for case in cases:
        case.close()
    rows = []
    for case in cases:
        times = np.array(spent[case.name])
        rows.append(
            Row(
                work=case.work,
                case=case.name,
                median_s=float(np.median(times)),
                spread=(float(times.min()), float(times.max())),
                samples_per_s=num_samples / float(np.median(times)),
                ratio=float(np.median(np.array(spent[baseline]) / times)),
                baseline=baseline,
                percent_of_limit=100 * float(np.median(np.array(spent[limit]) / times)),
            )
        )
    return rows


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    import torch

    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
