"""A training on a small set, without config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chirpid.audio.augment import AugmentRule
from chirpid.audio.frontend import FrontEnd
from chirpid.data.segments import SegmentTable
from chirpid.data.splits import Folds, make_folds
from chirpid.data.stats import BandStats
from chirpid.engine.engine import TrainingEngine, Workbench
from chirpid.engine.model import BirdModel
from chirpid.engine.observer import Observers
from chirpid.engine.rule import Task, TrainRule
from chirpid.loading.backends.base import LoaderBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.factory import Loader
from chirpid.models.small_cnn import SmallCNN
from chirpid.types import Backend, Mode
from tests.workbench import FRONTEND, dataset_of, maker_of

AUGMENT = AugmentRule(
    gain_db=6, time_shift_s=0.2, num_freq_masks=1, num_time_masks=1, time_mask_s=0.2,
    band_gain_db=3, mixup_alpha=0.3, noise_db=-40,
)  # fmt: skip
RULE = TrainRule(epochs=3, batch_size=4, augment=AUGMENT, warmup_epochs=0.5)


@dataclass
class Recorder:
    """An observer that remembers, and can ask for a stop after so many batches."""

    stop_after: int | None = None
    batches: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)
    on_batch: Callable[[int], None] | None = None

    def fold_starts(self, part: Any, num_epochs: int) -> None: ...

    def epoch_starts(self, fold: int, epoch: int, num_batches: int) -> None: ...

    def batch_done(self, fold: int, done: int, loss: float, monitor: Any) -> None:
        self.batches += 1
        if self.on_batch:
            self.on_batch(self.batches)

    def epoch_done(self, fold: int, epoch: int, figures: Any) -> None:
        self.epochs.append(dict(figures))

    def fold_done(self, outcome: Any) -> None: ...

    def say(self, line: str) -> None: ...


def folds_of(segments: SegmentTable, num_folds: int = 2) -> Folds:
    return make_folds(
        kind="grouped_kfold",
        labels_R=segments.label_R,
        groups_R=[segments.groups[g] for g in segments.group_R],
        audio_hash_R=[""] * len(segments.label_R),
        official_R=np.full(len(segments.label_R), -1),
        recording_N=segments.recording_N,
        class_names=segments.classes,
        num_folds=num_folds,
    )


def task_of(segments: SegmentTable) -> Task:
    eye = torch.eye(len(segments.classes))
    return Task(
        classes=segments.classes,
        label_N=segments.label_N,
        recording_N=segments.recording_N,
        key_N=segments.key_N,
        target_NC=eye[torch.from_numpy(segments.label_N)],
        name=segments.name,
    )


def engine_of(
    segments: SegmentTable,
    folder: Path,
    *,
    cache: Path,
    mode: Mode = Mode.eager,
    backend: Callable[[Any], LoaderBackend] = InlineBackend,
    rule: TrainRule = RULE,
    observer: Recorder | None = None,
    make_network: Callable[[], torch.nn.Module] | None = None,
    **options: Any,
) -> TrainingEngine:
    """Return an engine that trains two folds of a tiny network."""
    dataset = dataset_of(mode, maker_of(segments), cache)
    loader = Loader(dataset, backend(dataset), Backend.inline)
    bench = Workbench(
        task=task_of(segments),
        folds=folds_of(segments),
        loader=loader,
        device=torch.device("cpu"),
        make_model=lambda: BirdModel(
            FrontEnd(**FRONTEND),
            make_network() if make_network else SmallCNN(3, width=4, dropout=0.3),
            segments.classes,
        ),
        normalise="band",
        stats=BandStats(loader.run, segments.key_N, lambda rows: rows, max_segments=50),
        folder=folder,
    )
    return TrainingEngine(bench, rule, observer=Observers([observer or Recorder()]), **options)


def weights(folder: Path, fold: int = 0) -> dict[str, torch.Tensor]:
    """Return the trained weights of a fold."""
    state: dict[str, torch.Tensor] = torch.load(folder / f"folds/{fold}/model.pt")["state"]
    return state


def same_weights(a: Path, b: Path, fold: int = 0) -> bool:
    """Return whether two runs ended with the same bits."""
    left, right = weights(a, fold), weights(b, fold)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
