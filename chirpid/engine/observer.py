"""Who watches a training: console, tracker and plots; and how a user asks it to stop."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from chirpid.engine.rule import FoldOutcome, Part
from chirpid.errors import ChirpError
from chirpid.loading.monitor import EpochMonitor


class Observer(Protocol):
    """Told what happens. It must not change any result."""

    def fold_starts(self, part: Part, num_epochs: int) -> None: ...

    def epoch_starts(self, fold: int, epoch: int, num_batches: int) -> None: ...

    def batch_done(self, fold: int, done: int, loss: float, monitor: EpochMonitor) -> None: ...

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None: ...

    def fold_done(self, outcome: FoldOutcome) -> None: ...

    def say(self, line: str) -> None: ...


class QuietObserver:
    """An observer that lets everything pass, to take what it cares for from."""

    def fold_starts(self, part: Part, num_epochs: int) -> None:
        """A fold begins, or is gone on with."""

    def epoch_starts(self, fold: int, epoch: int, num_batches: int) -> None:
        """An epoch begins, or is gone on with."""

    def batch_done(self, fold: int, done: int, loss: float, monitor: EpochMonitor) -> None:
        """The weights were updated."""

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        """The fold was validated."""

    def fold_done(self, outcome: FoldOutcome) -> None:
        """The outcome is kept."""

    def say(self, line: str) -> None:
        """Take a line for the user."""


class Observers(QuietObserver):
    """Several observers as one.

    One that fails is left out from then on, and the others are told: hours of training are worth
    more than a plot. Errors meant for the user pass through.
    """

    def __init__(self, members: Sequence[Observer]) -> None:
        self.members = list(members)

    def fold_starts(self, part: Part, num_epochs: int) -> None:
        self._tell(lambda one: one.fold_starts(part, num_epochs))

    def epoch_starts(self, fold: int, epoch: int, num_batches: int) -> None:
        self._tell(lambda one: one.epoch_starts(fold, epoch, num_batches))

    def batch_done(self, fold: int, done: int, loss: float, monitor: EpochMonitor) -> None:
        self._tell(lambda one: one.batch_done(fold, done, loss, monitor))

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        self._tell(lambda one: one.epoch_done(fold, epoch, figures))

    def fold_done(self, outcome: FoldOutcome) -> None:
        self._tell(lambda one: one.fold_done(outcome))

    def say(self, line: str) -> None:
        self._tell(lambda one: one.say(line))

    def _tell(self, what: Callable[[Observer], None]) -> None:
        for member in list(self.members):
            try:
                what(member)
            except ChirpError:
                raise
            except Exception as error:  # noqa: BLE001 - a defect of ours or of a library
                self.members.remove(member)
                frame = traceback.extract_tb(error.__traceback__)[-1]
                self.say(
                    f"{type(member).__name__} failed and is left out from now on: "
                    f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
                )


class StopSignal:
    """Turns the first Ctrl-C (or a scheduler's SIGTERM) into a request to stop between batches.

    The second one interrupts at once; the last checkpoint is still whole.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # a shell keeps its background jobs from the Ctrl-C meant for another
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: a notebook server, a sweeper's worker
                break
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
