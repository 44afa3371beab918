"""Time of `next()`, repeated in turns, so that a busy machine is busy for everyone."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from chirpid.bench.facts import Witness
from chirpid.bench.truth import Truth
from chirpid.types import FloatArray

Pass = Callable[[int], Iterator[object]]
"""Called with a seed, gives the batches of one pass. All that a user pays for is done in `next()`:
a function that yields, not one that prepares and returns an iterator."""
Figures = dict[str, float]

LEAST_TURNS = 3
_SHORT_S, _MOST_REPEATS = 0.15, 9


def _nothing() -> None:
    """End nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way of doing a work."""

    work: str
    name: str
    run: Pass
    close: Callable[[], None] = _nothing
    figures: Callable[[], Figures] | None = None
    """What else the last pass came to; its medians go into the row."""
    checked: bool = True
    """False for what delivers no rows, such as decoding without a loader."""
    after: Callable[[], None] = _nothing
    """Called after every pass while the clock stands still."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a case came to; the names are those of the JSON."""

    work: str
    case: str
    median_s: float
    """Seconds of a pass, the median over turns."""
    spread: tuple[float, float]
    """The fastest and the slowest turn."""
    ratio: float
    """How many times faster than the baseline: the median of the ratios within turns."""
    baseline: str
    percent_of_limit: float
    """Seconds of the limit over seconds of the case, in percent: the median within turns."""
    limit: str
    samples_per_s: float
    batch_ms: tuple[float, float, float]
    """Milliseconds of a single `next()`: median, 95th and 99th percentile."""
    turns: int
    others_cores: float
    """Cores that other programs used meanwhile, on average."""
    figures: Figures = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return the row as it is written: figures beside the rest."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "figures"}
        return {**plain, "spread": list(self.spread), "batch_ms": list(self.batch_ms),
                **self.figures}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turns:
    """Seconds and figures of the counted turns, by case; the n-th of all are of one turn."""

    seconds: dict[str, FloatArray]
    figures: dict[str, list[Figures]]

    def figure(self, case: str, name: str) -> FloatArray:
        """Return a figure of a case, turn by turn."""
        return np.array([figures[name] for figures in self.figures[case]])


Limit = str | Callable[[Turns], FloatArray]
"""The case that no loader can beat, or its seconds turn by turn."""


def waits_of_pass(batches: Iterator[object], take: Callable[[object], None]) -> FloatArray:
    """Return the seconds of every `next()` of a pass, that of the end included.

    Args:
        take: shown each batch while the clock stands still.
    """
    waits: list[float] = []
    while True:
        begin = time.perf_counter()
        batch = next(batches, None)
        waits.append(time.perf_counter() - begin)
        if batch is None:
            return np.array(waits)
        take(batch)


def compare(
    cases: Sequence[Case],
    *,
    truth: Truth,
    baseline: str,
    limit: Limit,
    num_samples: int,
    seeds: Sequence[int],
    say: Callable[[str], None],
    limit_name: str = "limit",
    budget_s: float = 60.0,
) -> list[Row]:
    """Return a row per case, all timed in turns: every case once, in another order every turn.

    The first turn is not counted: it fills caches, starts workers, and holds every row that is
    delivered against the truth. Short passes are repeated within a turn, which counts their median.

    Args:
        baseline: name of the case that ratios are against.
        limit: what `percent_of_limit` is against.
        num_samples: rows of a pass.
        budget_s: no turn begins later, once there are `LEAST_TURNS`.
    Raises:
        BenchmarkError: a case did not deliver every row, or delivered other values.
    """
    stopwatch = _Stopwatch(cases, truth)
    begin, turns = time.monotonic(), 0
    gc.collect()
    gc.freeze()  # all that is there by now: collecting then takes no longer in a large program
    try:
        with Witness() as witness:
            stopwatch.warm_up(seeds[0])
            for seed in seeds:
                if turns >= LEAST_TURNS and time.monotonic() - begin > budget_s:
                    break
                stopwatch.turn(seed)
                turns += 1
                say(f"  {cases[0].work}: turn {turns} of {len(seeds)}")
    finally:
        for case in cases:
            case.close()
        gc.unfreeze()
    if witness.others_cores > 0.1:
        say(f"  {cases[0].work}: other programs used {witness.others_cores:.1f} cores meanwhile")
    return _rows(cases, stopwatch, baseline, limit, limit_name, num_samples, witness.others_cores)


class _Stopwatch:
    """Runs the cases and keeps what they came to."""

    def __init__(self, cases: Sequence[Case], truth: Truth) -> None:
        self.cases, self.truth = cases, truth
        self.repeats: dict[str, int] = {}
        self.seconds: dict[str, list[float]] = {case.name: [] for case in cases}
        self.figures: dict[str, list[Figures]] = {case.name: [] for case in cases}
        self.waits: dict[str, list[FloatArray]] = {case.name: [] for case in cases}

    def warm_up(self, seed: int) -> None:
        for case in self.cases:
            self._pass(case, seed, deep=True)
            seconds = float(self._pass(case, seed).sum()) if self._is_short(case) else _SHORT_S
            self.repeats[case.name] = int(np.clip(_SHORT_S / max(seconds, 1e-9), 1, _MOST_REPEATS))
            self.waits[case.name].clear()

    def _is_short(self, case: Case) -> bool:
        return float(self.waits[case.name][-1].sum()) < 1.0

    def turn(self, seed: int) -> None:
        # Drawn, so that nobody always follows the same neighbour and finds its leavings in caches.
        for number in np.random.default_rng([seed, 7]).permutation(len(self.cases)).tolist():
            case = self.cases[number]
            gc.collect()  # what others left behind is not this one's to clear away
            passes = [self._pass(case, seed) for _ in range(self.repeats[case.name])]
            self.seconds[case.name].append(float(np.median([waits.sum() for waits in passes])))
            self.figures[case.name].append(case.figures() if case.figures else {})

    def _pass(self, case: Case, seed: int, *, deep: bool = False) -> FloatArray:
        receipt = self.truth.receipt(deep=deep)
        waits = waits_of_pass(case.run(seed), receipt.take if case.checked else _ignore)
        case.after()
        if case.checked:
            receipt.check(f"{case.work}, {case.name}")
        self.waits[case.name].append(waits)
        return waits


def _ignore(batch: object) -> None:
    """Look at nothing."""


def _rows(
    cases: Sequence[Case], watch: _Stopwatch, baseline: str, limit: Limit, limit_name: str,
    num_samples: int, others_cores: float,
) -> list[Row]:  # fmt: skip
    turns = Turns({name: np.array(s) for name, s in watch.seconds.items()}, watch.figures)
    limit_s = turns.seconds[limit] if isinstance(limit, str) else limit(turns)
    rows = []
    for case in cases:
        seconds = turns.seconds[case.name]
        # Without the last, which only says that the pass is over.
        waits_ms = np.concatenate([waits[:-1] for waits in watch.waits[case.name]]) * 1e3
        p50, p95, p99 = np.percentile(waits_ms if len(waits_ms) else [0.0], [50, 95, 99]).tolist()
        names = watch.figures[case.name][0]
        rows.append(
            Row(
                work=case.work,
                case=case.name,
                median_s=float(np.median(seconds)),
                spread=(float(seconds.min()), float(seconds.max())),
                ratio=float(np.median(turns.seconds[baseline] / seconds)),
                baseline=baseline,
                percent_of_limit=100 * float(np.median(limit_s / seconds)),
                limit=limit if isinstance(limit, str) else limit_name,
                samples_per_s=num_samples / float(np.median(seconds)),
                batch_ms=(p50, p95, p99),
                turns=len(seconds),
                others_cores=others_cores,
                figures={n: float(np.median(turns.figure(case.name, n))) for n in names},
            )
        )
    return rows
