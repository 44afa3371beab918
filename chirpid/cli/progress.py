"""Progress of long work: a bar with rate and remaining time, or a line a minute in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Task as Bar
from rich.text import Text

LINE_EVERY_S = 60.0
"""A console that is no terminal, such as the log of a batch job, gets a line this often."""

Told = Callable[[int, int], None]
"""Called with (done, total)."""


@contextlib.contextmanager
def progress_bar(
    console: Console, title: str, *, in_bytes: bool = False, line_every_s: float = LINE_EVERY_S
) -> Iterator[Told]:
    """Give a function that shows (done, total) with the rate and the time that is left.

    Args:
        in_bytes: what is counted are bytes.
    """
    if not console.is_terminal:
        yield _Lines(console, title, in_bytes, line_every_s)
        return
    counts = [TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn(), _Rate()]
    bar = Progress(
        TextColumn(title),
        BarColumn(bar_width=28),
        *counts,
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Rate(ProgressColumn):
    """Items per second, once it is known."""

    def render(self, task: Bar) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


class _Lines:
    """Says how far it is, from time to time."""

    def __init__(self, console: Console, title: str, in_bytes: bool, every_s: float) -> None:
        self.console, self.title, self.every_s = console, title, every_s
        self.unit, self.per_unit = (" MiB", 2**20) if in_bytes else ("", 1)
        self._begin: tuple[float, int] | None = None
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._begin is None:
            # What was there before is not of this rate.
            self._begin, self._last = (now, done), now
            return
        seconds, work = now - self._begin[0], done - self._begin[1]
        if now - self._last < self.every_s or work <= 0 or done >= total:
            return
        self._last = now
        rate = work / max(seconds, 1e-9)
        done_text, total_text = (f"{n / self.per_unit:.0f}" for n in (done, total))
        self.console.print(
            f"{self.title}: {done_text} of {total_text}{self.unit}, "
            f"{rate / self.per_unit:.0f}{self.unit} per second, "
            f"{_duration_text((total - done) / rate)} left",
            markup=False,
        )


def _duration_text(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
