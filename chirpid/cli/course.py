"""Under which settings the epochs of a run went: a plan may change in mid-run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chirpid.engine.observer import QuietObserver
from chirpid.loading.changes import shape_of
from chirpid.loading.factory import Loader
from chirpid.loading.monitor import EpochMonitor, mean_figures
from chirpid.loading.tune import Setting


class Course(QuietObserver):
    """Keeps each epoch that went under one plan from its first batch to its last.

    To be told of an epoch before whoever changes the plan after it.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.epochs: list[tuple[Setting, Mapping[str, float]]] = []
        self._under, self._begun, self._seen = self._now(), 0, 0

    def epoch_starts(self, fold: int, epoch: int, num_batches: int) -> None:
        self._under = self._now()
        self._begun = self._seen = len(self.loader.changes)

    def batch_done(self, fold: int, done: int, loss: float, monitor: EpochMonitor) -> None:
        self._seen = len(self.loader.changes)

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        if self._seen == self._begun and "loader/samples_per_s" in figures:
            self.epochs.append((self._under, figures))

    @property
    def has_changed(self) -> bool:
        """Whether not all of the run went under one plan."""
        return bool(self.loader.changes)

    @property
    def last(self) -> Setting | None:
        """What the last epoch went under; None if none went under one plan."""
        return self.epochs[-1][0] if self.epochs else None

    @property
    def settings(self) -> set[Setting]:
        """All that epochs went under, and what the loader has now."""
        return {setting for setting, _ in self.epochs} | {self._now()}

    def num_epochs(self, setting: Setting) -> int:
        """Return how many epochs went under a setting."""
        return sum(one == setting for one, _ in self.epochs)

    def figures(self, setting: Setting) -> dict[str, float]:
        """Return the mean figures of the epochs that went under a setting."""
        known = [figures for one, figures in self.epochs if one == setting]
        figures = mean_figures(known)
        return {name: value for name, value in figures.items() if name.startswith("loader/")}

    def results(self) -> dict[str, Any]:
        """Return {"plan": ...} for results.json: how batches were fetched in the end."""
        plain = {name: getattr(v, "value", v) for name, v in asdict(self._now()).items()}
        return {"plan": {**plain, "changes": len(self.loader.changes)}}

    @property
    def ram_bytes(self) -> int | None:
        """RAM that loading takes after memory ran short; None if it never did."""
        plan, guard = self.loader.plan, self.loader.guard
        return plan.total_bytes if plan and guard and guard.has_stepped else None

    def _now(self) -> Setting:
        assert self.loader.plan is not None, "it was made without a plan"
        shape = shape_of(self.loader.plan)
        return Setting(self.loader.dataset.mode, shape.backend, shape.num_workers, shape.prefetch)
