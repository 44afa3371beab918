"""Who watches a training: console, tracker and plots; and how a user asks it to stop."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

from chirpid.engine.rule import FoldOutcome, Part
from chirpid.loading.monitor import EpochMonitor


class Observer(Protocol):
    """Told what happens. It must not change anything."""

    def fold_starts(self, part: Part, num_epochs: int) -> None: ...

    def epoch_starts(self, fold: int, epoch: int, num_batches: int) -> None: ...

    def batch_done(self, fold: int, done: int, loss: float, monitor: EpochMonitor) -> None: ...

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None: ...

    def fold_done(self, outcome: FoldOutcome) -> None: ...

    def say(self, line: str) -> None: ...


class Observers:
    """Several observers as one."""

    def __init__(self, members: Sequence[Observer]) -> None:
        self.members = tuple(members)

    def __getattr__(self, name: str) -> Any:
        calls = [getattr(member, name) for member in self.members]

        def tell_all(*args: Any, **kwargs: Any) -> None:
            for call in calls:
                call(*args, **kwargs)

        return tell_all


class StopSignal:
    """Turns the first Ctrl-C (or a scheduler's SIGTERM) into a request to stop between batches.

    The second one interrupts at once; the last checkpoint is still whole.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
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
