"""Figures of single steps, few enough to look at and cheap enough to take at every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MOST_POINTS = 1000
"""Of one metric and one fold: more could not be told apart in a chart."""
_EVERY_S = 1.0


class Timeline(Protocol):
    """What is read of an `EpochMonitor`: seconds of every batch so far, and samples in all."""

    asked_s: list[float]
    got_s: list[float]
    stepped_s: list[float]
    num_samples: int


@dataclass(slots=True)
class Series:
    """Points of several metrics at the same steps, as they go into the journal."""

    steps: list[int] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    """None where a metric has no value at a step."""

    def add(self, step: int, time_ms: int, values: Mapping[str, float | None]) -> None:
        """Add one point to each metric; every call has the same metrics."""
        self.steps.append(step)
        self.times_ms.append(time_ms)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)


class StepLog:
    """Collects the steps of one fold into windows, and hands their points over once a second.

    A window is a fixed number of steps, by the length of the whole training, so that there are at
    most `most` of them and a resumed training has the same ones. Of its waits the mean and the
    longest are kept: one stall among a thousand steps stays to be seen.

    Args:
        total_steps: of the whole fold.
        write: takes the points.
        clock: seconds.
    """

    def __init__(
        self,
        total_steps: int,
        write: Callable[[Series], None],
        *,
        most: int = MOST_POINTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.window = max(1, -(-total_steps // most))
        self._write, self._clock = write, clock
        self._written_s = clock()
        self._series = Series()
        self._monitor: Timeline | None = None
        self._step = self._read = self._samples = 0
        self._open, self._losses = _Window(), _Losses()

    def epoch_starts(self, first_step: int) -> None:
        """Begin an epoch before which the fold has made `first_step` steps."""
        self._take()
        self._step, self._monitor = first_step, None

    def batch_done(self, done: int, loss: float, monitor: Timeline) -> None:
        """Note a step; `done` counts the batches of the epoch, `loss` is the mean so far."""
        if monitor is not self._monitor:
            self._monitor, self._read, self._samples = monitor, 0, 0
            self._step += done - 1  # a resumed epoch does not begin at its first batch
            self._losses.epoch_starts(done, loss)
        # The step of this batch ends after this call: only those before it have their times.
        elif len(monitor.stepped_s) - self._read >= self.window - self._step % self.window:
            self._take()
            if self._clock() - self._written_s >= _EVERY_S:
                self._hand_over()
        self._losses.note(done, loss)

    def flush(self) -> None:
        """Hand over all points; a window that is not full becomes one, too."""
        self._take()
        if self._open.num_steps:
            self._close()
        self._hand_over()

    def _take(self) -> None:
        """Read the batches that were not read yet, and close the windows that they fill."""
        if (monitor := self._monitor) is None:
            return
        end = len(monitor.stepped_s)
        share = (monitor.num_samples - self._samples) / max(1, end - self._read)
        for i in range(self._read, end):
            asked_s, got_s = monitor.asked_s[i], monitor.got_s[i]
            self._open.add(got_s - asked_s, monitor.stepped_s[i] - got_s, share)
            self._step += 1
            if self._step % self.window == 0:
                self._close()
        self._read, self._samples = end, monitor.num_samples

    def _close(self) -> None:
        values = {**self._open.figures(), "train/step/loss": self._losses.take()}
        self._series.add(self._step, time.time_ns() // 1_000_000, values)
        self._open = _Window()

    def _hand_over(self) -> None:
        self._written_s = self._clock()
        if self._series.steps:
            self._write(self._series)
            self._series = Series()


@dataclass(slots=True)
class _Window:
    num_steps: int = 0
    wait_s: float = 0.0
    longest_wait_s: float = 0.0
    step_s: float = 0.0
    num_samples: float = 0.0

    def add(self, wait_s: float, step_s: float, num_samples: float) -> None:
        self.num_steps += 1
        self.wait_s += wait_s
        self.longest_wait_s = max(self.longest_wait_s, wait_s)
        self.step_s += step_s
        self.num_samples += num_samples

    def figures(self) -> dict[str, float | None]:
        return {
            "loader/step/wait_ms": 1e3 * self.wait_s / self.num_steps,
            "loader/step/wait_ms_max": 1e3 * self.longest_wait_s,
            "loader/step/step_ms": 1e3 * self.step_s / self.num_steps,
            "loader/step/samples_per_s": self.num_samples / max(self.wait_s + self.step_s, 1e-9),
        }


@dataclass(slots=True)
class _Losses:
    """Takes the mean of a few steps out of means over the epoch so far.

    On a GPU the mean stands still between two looks at the losses; the steps between them get
    their mean at the second look. Batches count alike; only the last one may be smaller.
    """

    _done: int = 0
    _mean: float = 0.0
    _sum: float = 0.0
    _count: int = 0

    def epoch_starts(self, done: int, mean: float) -> None:
        # Of a resumed epoch the part before is not ours to tell.
        self._done, self._mean = (done, mean) if done > 1 else (0, 0.0)

    def note(self, done: int, mean: float) -> None:
        if mean != self._mean:
            self._sum += mean * done - self._mean * self._done
            self._count += done - self._done
            self._done, self._mean = done, mean

    def take(self) -> float | None:
        value = self._sum / self._count if self._count else None
        self._sum, self._count = 0.0, 0
        return value
