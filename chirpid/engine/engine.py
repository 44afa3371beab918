"""The folds of a cross-validation, one after the other, each resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chirpid.data.splits import Folds
from chirpid.data.stats import BandStats
from chirpid.engine import checkpoint
from chirpid.engine.fold import FoldTrainer
from chirpid.engine.model import BirdModel
from chirpid.engine.observer import Observers, StopSignal
from chirpid.engine.rule import FoldOutcome, Part, Task, TrainRule
from chirpid.loading.factory import Loader
from chirpid.loading.monitor import Recording
from chirpid.native.heap import kept_memory
from chirpid.seeds import mix64, seed_everything
from chirpid.types import IntArray

InnerSplit = Callable[[IntArray, int], tuple[IntArray, IntArray]]
"""(training ids, fold) -> (ids to train on, ids to choose an epoch by)."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """What all folds share."""

    task: Task
    folds: Folds
    loader: Loader
    device: torch.device
    make_model: Callable[[], BirdModel]
    """Makes an untrained model from torch's generator, which is seeded for each fold."""
    normalise: str
    """none, overall or band"""
    stats: BandStats
    folder: Path
    """The run folder: checkpoints and models lie below it."""


class TrainingEngine:
    """Runs the folds of a `Workbench`; what a fold came to is kept, so that it runs once.

    Args:
        only: the folds to run; None runs all.
        inner_split: for `selection=inner`.
    """

    def __init__(
        self,
        bench: Workbench,
        rule: TrainRule,
        *,
        observer: Observers,
        only: Sequence[int] | None = None,
        inner_split: InnerSplit | None = None,
    ) -> None:
        self.bench, self.rule, self.observer = bench, rule, observer
        self.only = list(range(bench.folds.num_folds)) if only is None else list(only)
        self.inner_split = inner_split

    def run(self) -> list[FoldOutcome]:
        """Return the outcome of every fold.

        Raises:
            Interrupted: the user asked to stop; the same call goes on from there.
        """
        outcomes = []
        with StopSignal() as stop, kept_memory(self.bench.device.type == "cpu"):
            for fold in self.only:
                outcome = self._kept(fold)
                if outcome is None:
                    outcome = self._run_fold(fold, stop)
                    self._keep(outcome)
                else:
                    self.observer.say(f"fold {fold} was done before; its outcome is kept")
                self.observer.fold_done(outcome)
                outcomes.append(outcome)
        return outcomes

    def _run_fold(self, fold: int, stop: StopSignal) -> FoldOutcome:
        bench = self.bench
        part = self._part(fold)
        # Each fold has its own stream, so that running fold 3 alone gives fold 3.
        seed_everything(int(mix64(self.rule.seed, fold)) % 2**63)
        model = bench.make_model()
        if bench.normalise != "none":
            mean_M, std_M = bench.stats.of(part.train_ids, per_band=bench.normalise == "band")
            model.normaliser.set(mean_M, std_M)
        trainer = FoldTrainer(
            part,
            bench.task,
            self.rule,
            model,
            bench.loader,
            device=bench.device,
            path=self._folder(fold) / "checkpoint.pt",
            observer=self.observer,
            stop=stop,
        )
        outcome = trainer.fit()
        save_model(self._folder(fold) / "model.pt", model)
        return outcome

    def _part(self, fold: int) -> Part:
        train, valid = self.bench.folds.train_ids(fold), self.bench.folds.valid_ids(fold)
        if self.rule.selection == "inner" and self.inner_split is not None:
            train, inner = self.inner_split(train, fold)
            return Part(fold, train, valid, inner)
        return Part(fold, train, valid)

    def _folder(self, fold: int) -> Path:
        return self.bench.folder / "folds" / str(fold)

    def _keep(self, outcome: FoldOutcome) -> None:
        """Write the outcome; from then on the fold is done."""
        names = outcome.__dataclass_fields__
        state: dict[str, Any] = {name: getattr(outcome, name) for name in names}
        for name in ("valid_ids", "probs_NC"):
            state[name] = torch.from_numpy(np.ascontiguousarray(state[name]))
        state["recording"] = outcome.recording.state()
        checkpoint.save(self._folder(outcome.fold) / "outcome.pt", state)

    def _kept(self, fold: int) -> FoldOutcome | None:
        names = FoldOutcome.__dataclass_fields__
        state = checkpoint.load(self._folder(fold) / "outcome.pt", names)
        if state is None:
            return None
        for name in ("valid_ids", "probs_NC"):
            state[name] = state[name].numpy()
        state["recording"] = Recording.of(state["recording"])
        return FoldOutcome(**state)


def save_model(path: Path, model: BirdModel) -> None:
    """Write the weights, statistics and classes of a trained model."""
    checkpoint.save(path, {"classes": list(model.classes), "state": model.state_dict()})
