"""Settings of learning: model, optimiser, folds and the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chirpid.config.schema.checks import require
from chirpid.errors import ConfigError
from chirpid.types import GroupBy


class CvKind(StrEnum):
    grouped_kfold = "grouped_kfold"
    predefined = "predefined"
    holdout = "holdout"


class Selection(StrEnum):
    last = "last"
    inner = "inner"
    fold = "fold"


class OptimName(StrEnum):
    adam = "adam"
    adamw = "adamw"


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """The network, from normalised spectrogram [B, 1, M, F] to logits [B, C]."""

    name: str = "small_cnn"
    target: str = "chirpid.models.small_cnn.SmallCNN"
    """Dotted path of a class; it is called with `num_classes` and `params`."""
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.target:
            raise ConfigError("model=custom needs model.target, the dotted name of your class.")


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """How weights are updated. The learning rate warms up, then falls as a cosine to zero."""

    name: OptimName = OptimName.adamw
    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.05
    class_weights: bool = True
    """Weigh classes by the inverse root of their training segments, mean 1."""
    clip_norm: float | None = 5.0

    def __post_init__(self) -> None:
        require(self.lr > 0, "optim.lr", self.lr, "more than 0")
        require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.label_smoothing < 1, "optim.label_smoothing", self.label_smoothing,
                 "0 <= x < 1")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class CvConfig:
    """How the set is split."""

    kind: CvKind = CvKind.grouped_kfold
    num_folds: int = 5
    group_by: GroupBy = GroupBy.group
    """`recording` and `segment` leak recordists or recordings; they exist to show how much."""
    folds: list[int] | None = None
    """Run only these folds; None runs all."""
    holdout_fraction: float = 0.2
    """cv=holdout: share of the recordings that are held out, by whole groups."""

    def __post_init__(self) -> None:
        require(self.num_folds >= 2, "cv.num_folds", self.num_folds, "2 or more")
        require(0 < self.holdout_fraction < 1, "cv.holdout_fraction", self.holdout_fraction,
                 "0 < x < 1")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class EngineConfig:
    """The training loop."""

    epochs: int = 20
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    amp: bool | None = None
    """Automatic mixed precision; None: on a GPU that has it."""
    selection: Selection = Selection.last
    """Which epoch is reported: the last; the best on an inner split of the training part
    (early stopping); or the best on the fold itself, which is optimistic and labelled so."""
    patience: int = 10
    """Epochs without improvement before early stopping (selection=inner or fold)."""
    inner_fraction: float = 0.15
    """Share of the training part, by whole groups, that selection=inner holds out."""
    monitor: str = "recording/macro_f1"
    """Metric that selection watches."""
    checkpoint_minutes: float = 5.0
    """A checkpoint is written at least so often, and after every epoch."""
    num_threads: int | None = None
    """Threads of the model on a CPU; None: all cores."""
    max_batches: int | None = None
    """Stop epochs after so many batches, to try things out."""
    deterministic: bool = True
    """Ask torch for deterministic algorithms."""
    bootstrap_samples: int = 1000
    """Resamples over recordings for the confidence intervals."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "engine.epochs", self.epochs, "1 or more")
        require(self.patience >= 1, "engine.patience", self.patience, "1 or more")
        require(0 < self.inner_fraction < 1, "engine.inner_fraction", self.inner_fraction,
                 "0 < x < 1")  # fmt: skip
        require(self.bootstrap_samples >= 0, "engine.bootstrap_samples", self.bootstrap_samples,
                 "0 or more")  # fmt: skip
