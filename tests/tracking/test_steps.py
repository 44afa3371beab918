from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.tracking.steps import Series, StepLog

BATCH = 4


@dataclass
class Pass:
    """A pass over batches as the training loop times it."""

    asked_s: list[float] = field(default_factory=list)
    got_s: list[float] = field(default_factory=list)
    stepped_s: list[float] = field(default_factory=list)
    num_samples: int = 0

    def note(self, wait_s: float, step_s: float) -> None:
        now = self.stepped_s[-1] if self.stepped_s else 0.0
        self.asked_s.append(now)
        self.got_s.append(now + wait_s)
        self.stepped_s.append(now + wait_s + step_s)
        self.num_samples += BATCH


@dataclass
class Told:
    """Takes the points; `writes` counts how often."""

    points: dict[str, dict[int, float]] = field(default_factory=dict)
    writes: int = 0

    def __call__(self, series: Series) -> None:
        self.writes += 1
        for name, values in series.values.items():
            for step, value in zip(series.steps, values, strict=True):
                assert step not in self.points.get(name, {})
                if value is not None:
                    self.points.setdefault(name, {})[step] = value


def train(
    log: StepLog, waits_s: list[list[float]], losses: list[list[float]], skip: int = 0
) -> None:
    """Go through epochs as the engine does; of the first one `skip` batches were done before."""
    first = 0
    for waits, values in zip(waits_s, losses, strict=True):
        log.epoch_starts(first)
        timed = Pass()
        for i in range(skip, len(waits)):
            log.batch_done(i + 1, math.fsum(values[: i + 1]) / (i + 1), timed)
            timed.note(waits[i], 0.25)
        first, skip = first + len(waits), 0
    log.flush()


def test_a_short_training_has_a_point_at_every_step() -> None:
    told = Told()
    losses = [[4.0, 2.0, 6.0], [1.0, 3.0, 5.0]]
    train(StepLog(6, told), [[0.5, 0.0, 0.25]] * 2, losses)
    assert told.points["loader/step/wait_ms"] == {1: 500, 2: 0, 3: 250, 4: 500, 5: 0, 6: 250}
    assert told.points["loader/step/step_ms"] == dict.fromkeys(range(1, 7), 250)
    assert told.points["loader/step/samples_per_s"][1] == pytest.approx(BATCH / 0.75)
    assert told.points["train/step/loss"] == pytest.approx(
        dict(enumerate([4.0, 2.0, 6.0, 1.0, 3.0, 5.0], start=1))
    )
    assert told.writes == 1


@given(
    num_epochs=st.integers(1, 6), num_batches=st.integers(1, 40), most=st.integers(1, 50),
    stalled=st.integers(0, 10**6), skip=st.integers(0, 39),
)  # fmt: skip
def test_points_are_few_and_no_stall_is_averaged_away(
    num_epochs: int, num_batches: int, most: int, stalled: int, skip: int
) -> None:
    total, skip = num_epochs * num_batches, min(skip, num_batches - 1)
    stalled = skip + stalled % (total - skip)
    waits = [[9.0 if e * num_batches + i == stalled else 0.01 for i in range(num_batches)]
             for e in range(num_epochs)]  # fmt: skip
    losses = [[float(e + i) for i in range(num_batches)] for e in range(num_epochs)]
    told = Told()
    log = StepLog(total, told, most=most)
    train(log, waits, losses, skip)
    longest = told.points["loader/step/wait_ms_max"]
    assert len(longest) <= most
    assert max(longest) == total
    (step,) = [step for step, wait_ms in longest.items() if wait_ms > 8000]
    assert step - log.window <= stalled < step
    # Weighted by their steps, the means give back the whole.
    ends = sorted(longest)
    counts = [b - a for a, b in zip([skip, *ends], ends, strict=False)]
    waited = [
        told.points["loader/step/wait_ms"][end] * n for end, n in zip(ends, counts, strict=True)
    ]
    assert sum(waited) == pytest.approx(1e3 * sum(map(sum, waits)) - 10.0 * skip)


def test_losses_that_are_looked_at_now_and_then_come_as_the_mean_of_the_steps_between() -> None:
    told = Told()
    log = StepLog(4, told)
    log.epoch_starts(0)
    timed = Pass()
    for done, mean in ((1, 0.0), (2, 3.0), (3, 3.0), (4, 4.0)):  # looked at after 2 and 4
        log.batch_done(done, mean, timed)
        timed.note(0.1, 0.1)
    log.flush()
    assert told.points["train/step/loss"] == {2: 3.0, 4: 5.0}


def test_points_are_handed_over_once_a_second() -> None:
    now_s, told = 0.0, Told()
    log = StepLog(100, told, clock=lambda: now_s)
    log.epoch_starts(0)
    timed = Pass()
    for done in range(1, 101):
        log.batch_done(done, 1.0 / done, timed)
        timed.note(0.05, 0.05)
        now_s += 0.1
    log.flush()
    assert 9 <= told.writes <= 11
    assert len(told.points["loader/step/step_ms"]) == 100
