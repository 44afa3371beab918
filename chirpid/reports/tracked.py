"""Tells the tracker of folds: a child run per fold, figures per epoch and per step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from chirpid.engine.observer import QuietObserver
from chirpid.engine.rule import FoldOutcome, Part
from chirpid.loading.monitor import EpochMonitor, write_trace
from chirpid.reports.plots import loader_timeline
from chirpid.tracking import Tracker
from chirpid.tracking.steps import Series, StepLog


class TrackedObserver(QuietObserver):
    """Logs to child runs of `parent`. Plots of a fold go to `folder`/folds/<fold>."""

    def __init__(self, tracker: Tracker, parent: str, folder: Path) -> None:
        self.tracker, self.parent, self.folder = tracker, parent, folder
        self.runs: dict[int, str] = {}
        self._num_epochs, self._total_steps = 0, 0
        self._offset = 0
        """Steps of the folds before this one."""
        self._num_kept = 0
        """Folds that an earlier attempt finished, whose steps are not known yet."""
        self._steps: StepLog | None = None

    def fold_starts(self, part: Part, num_epochs: int) -> None:
        tags = {"chirpid.kind": "fold", "chirpid.fold": str(part.fold)}
        run = self.tracker.start_run(f"fold {part.fold}", parent=self.parent, tags=tags)
        self.runs[part.fold] = run
        self._num_epochs, self._steps = num_epochs, None
        self.tracker.log_params(
            run,
            {
                "fold": part.fold,
                "train_segments": len(part.train_ids),
                "valid_segments": len(part.valid_ids),
            },
        )

    def epoch_starts(self, fold: int, epoch: int, num_batches: int) -> None:
        if self._steps is None:
            self._total_steps = self._num_epochs * num_batches
            self._offset += self._num_kept * self._total_steps
            self._num_kept = 0
            self._steps = StepLog(self._total_steps, lambda series: self._log(fold, series))
        self._steps.epoch_starts(epoch * num_batches)

    def batch_done(self, fold: int, done: int, loss: float, monitor: EpochMonitor) -> None:
        if self._steps is not None:
            self._steps.batch_done(done, loss, monitor)

    def _log(self, fold: int, series: Series) -> None:
        """Log steps to the run of the fold, and to the parent, where all folds make one line."""
        self.tracker.log_series(self.runs[fold], series)
        steps = [self._offset + step for step in series.steps]
        self.tracker.log_series(self.parent, Series(steps, series.times_ms, series.values))

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        finite = {k: v for k, v in figures.items() if math.isfinite(v) and k != "epoch"}
        self.tracker.log_metrics(self.runs[fold], finite, step=epoch)

    def fold_done(self, outcome: FoldOutcome) -> None:
        if self._steps is not None:
            self._steps.flush()
            self._steps = None
            self._offset += self._total_steps
        run = self.runs.get(outcome.fold)
        if run is None:  # done by an earlier attempt: make sure that the server has all of it
            self._num_kept += 1
            run = self.tracker.start_run(f"fold {outcome.fold}", parent=self.parent)
        finite = {k: v for k, v in outcome.metrics.items() if math.isfinite(v)}
        self.tracker.log_metrics(run, finite, step=outcome.best_epoch)
        if len(outcome.recording.timeline_B3):
            folder = self.folder / "folds" / str(outcome.fold)
            title = f"Loader, fold {outcome.fold}"
            loader_timeline(outcome.recording, folder / "loader_timeline.png", title=title)
            write_trace(outcome.recording, folder / "trace.json", title=title)
            for name in ("loader_timeline.png", "trace.json"):
                self.tracker.log_file(run, folder / name, folder="plots")
        self.tracker.end_run(run, "FINISHED")
