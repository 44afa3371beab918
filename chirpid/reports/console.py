"""Training in the console: a bar with rate and wait share, one line per epoch."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from chirpid.engine.rule import FoldOutcome, Part
from chirpid.loading.monitor import EpochMonitor


class ConsoleObserver:
    """Shows a bar where the console can, and plain lines anywhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.num_epochs = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def fold_starts(self, part: Part, num_epochs: int) -> None:
        self.num_epochs = num_epochs
        inner = f", {len(part.inner_ids)} to choose by" if part.inner_ids is not None else ""
        self.console.print(
            f"fold {part.fold}: {len(part.train_ids)} segments to train on{inner}, "
            f"{len(part.valid_ids)} to validate"
        )

    def measured(self, done: int, total: int) -> None:
        """Show how far the statistics of a training part are."""
        if self._bar is None:
            self._start_bar("  statistics", total)
        self._update(done, "")
        if done >= total:
            self.close()

    def epoch_starts(self, fold: int, epoch: int, num_batches: int) -> None:
        self._start_bar(f"  epoch {epoch + 1:>3}/{self.num_epochs}", num_batches)

    def batch_done(self, fold: int, done: int, loss: float, monitor: EpochMonitor) -> None:
        rate = monitor.num_samples / max(monitor.elapsed_s, 1e-9) if monitor.stepped_s else 0.0
        figures = f"loss {loss:.3f}  {rate:.0f} seg/s  wait {monitor.wait_share:.1%}"
        self._update(done, figures)

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        self.close()
        self.console.print(
            f"  epoch {epoch + 1:>3}/{self.num_epochs}"
            f"  loss {figures['train/loss']:.3f} / {figures['valid/loss']:.3f}"
            f"  recordings: accuracy {figures['valid/recording/accuracy']:.3f}"
            f" F1 {figures['valid/recording/macro_f1']:.3f}"
            f"  {figures.get('loader/samples_per_s', 0):.0f} seg/s"
            f"  wait {figures.get('loader/wait_share', 0):.1%}",
            highlight=False,
        )

    def fold_done(self, outcome: FoldOutcome) -> None:
        accuracy = outcome.metrics["recording/accuracy"]
        f1 = outcome.metrics["recording/macro_f1"]
        self.console.print(
            f"fold {outcome.fold} done in {outcome.seconds:.0f} s: recordings accuracy "
            f"{accuracy:.3f}, macro F1 {f1:.3f}"
        )

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False)

    def _start_bar(self, title: str, total: int) -> None:
        self.close()
        if not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn(title),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=total, figures="")

    def _update(self, done: int, figures: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, figures=figures)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
