"""What the engine is told: plain values, no config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from chirpid.audio.augment import AugmentRule
from chirpid.data.mix import Mix, mixed_epoch
from chirpid.data.order import OrderRule, batches_of
from chirpid.loading.monitor import Recording
from chirpid.seeds import U64
from chirpid.types import FloatArray, IntArray, Order


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt: labels and keys of all segments (N) of a set."""

    classes: tuple[str, ...]
    label_N: IntArray
    recording_N: IntArray
    key_N: U64
    target_NC: torch.Tensor
    """float32 [N, C], rows sum to 1."""
    name: Callable[[int], str]
    """What a segment is called in messages."""


@dataclass(frozen=True, slots=True)
class TrainEpoch:
    """What is trained on in an epoch, in order."""

    batches: list[IntArray]
    repeats: list[IntArray] | None = None
    """For each segment of each batch, which of its draws in this epoch it is; None: each once."""

    def repeat_of(self, batch: int) -> IntArray | None:
        """Return `repeats` of one batch."""
        return None if self.repeats is None else self.repeats[batch]


@dataclass(frozen=True, slots=True)
class TrainRule:
    """How a fold is trained; each field means what it means in `conf/engine` and `conf/optim`."""

    epochs: int = 20
    batch_size: int = 32
    eval_batch_size: int = 32
    drop_last: bool = False
    max_batches: int | None = None
    order: Order = Order.auto
    block_segments: int = 512
    window_segments: int = 16384
    optimiser: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.05
    class_weights: bool = True
    clip_norm: float | None = 5.0
    amp: bool | None = None
    selection: str = "last"
    patience: int = 10
    monitor: str = "recording/macro_f1"
    checkpoint_s: float = 300.0
    augment: AugmentRule = field(default_factory=AugmentRule)
    seed: int = 0
    mix: Mix | None = None
    """Draws from several sets by weight; None takes every training segment once."""

    def train_epoch(self, ids: IntArray, key_N: U64, epoch: int) -> TrainEpoch:
        """Return the batches of a training epoch: a pure function of its arguments."""
        order = OrderRule(self.order, self.seed, self.block_segments, self.window_segments)
        if self.mix is None:
            return TrainEpoch(self._cut(order.epoch(ids, key_N, epoch)))
        mixed = mixed_epoch(ids, key_N, self.mix, order, epoch=epoch)
        return TrainEpoch(self._cut(mixed.ids), self._cut(mixed.repeats))

    def _cut(self, values: IntArray) -> list[IntArray]:
        batches = batches_of(values, self.batch_size, drop_last=self.drop_last)
        # A batch of one has no variance: batch normalisation cannot train on it.
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [values[-(len(batches[-2]) + 1) :]]
        return batches[: self.max_batches]

    def eval_batches(self, ids: IntArray) -> list[IntArray]:
        """Return the batches of an evaluation: every segment once, in order."""
        return batches_of(ids, self.eval_batch_size)


@dataclass(frozen=True, slots=True)
class Part:
    """The segments of one fold."""

    fold: int
    train_ids: IntArray
    valid_ids: IntArray
    inner_ids: IntArray | None = None
    """Held out of the training part to choose an epoch by."""


@dataclass(slots=True)
class FoldOutcome:
    """What a fold came to."""

    fold: int
    metrics: dict[str, float]
    valid_ids: IntArray
    probs_NC: FloatArray
    """Probabilities of the validated segments, in the order of `valid_ids`."""
    history: list[dict[str, float]]
    loader: dict[str, float]
    """Loader figures of the training epochs, averaged."""
    recording: Recording
    """The last training epoch, batch by batch."""
    best_epoch: int
    seconds: float
