"""One fold: epochs of a training and a validation stage, stopped and resumed at any batch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chirpid.engine import checkpoint
from chirpid.engine.metrics import report
from chirpid.engine.model import BirdModel
from chirpid.engine.observer import Observers, StopSignal
from chirpid.engine.optim import (
    class_weights,
    learning_rate,
    make_optimiser,
    soft_cross_entropy,
)
from chirpid.engine.precision import Precision
from chirpid.engine.rule import FoldOutcome, Part, Task, TrainRule
from chirpid.engine.steps import Preparer
from chirpid.engine.stopping import BestEpoch
from chirpid.errors import Interrupted, StorageError, TrainingError
from chirpid.loading.factory import Loader
from chirpid.loading.monitor import EpochMonitor, Recording, mean_figures
from chirpid.types import Batch, FloatArray, IntArray

_CHECK_EVERY_STEPS = 16
"""On a GPU the loss is looked at this often: each look waits for the device."""


class FoldTrainer:
    """Trains and validates one fold. All state that resuming needs is in `state()`.

    Args:
        path: the checkpoint of this fold.
    """

    def __init__(
        self,
        part: Part,
        task: Task,
        rule: TrainRule,
        model: BirdModel,
        loader: Loader,
        *,
        device: torch.device,
        path: Path,
        observer: Observers,
        stop: StopSignal,
    ) -> None:
        self.part, self.task, self.rule = part, task, rule
        self.loader, self.device, self.path = loader, device, path
        self.observer, self.stop = observer, stop
        self.model = model.to(device)
        self.prepare = Preparer(self.model, task, rule.augment, device, rule.seed)
        self.optimiser = make_optimiser(
            rule.optimiser, self.model.network, lr=rule.lr, weight_decay=rule.weight_decay
        )
        self.precision = Precision(device, rule.amp)
        labels = task.label_N[part.train_ids]
        num_classes = len(task.classes)
        self.weight_C = torch.ones(num_classes, device=device)
        if rule.class_weights:
            self.weight_C = class_weights(labels, num_classes).to(device)
        self.best = BestEpoch(rule.patience)
        self.epoch = self.batch = self.step = 0
        self.loss_sum, self.loss_count = 0.0, 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.loader_figures: list[dict[str, float]] = []
        self.recording = Recording()
        self._begin = self._saved = time.monotonic()
        self._unchecked: list[tuple[Tensor, IntArray]] = []

    @property
    def num_batches(self) -> int:
        """Batches of one training epoch; the same for all."""
        return len(self.rule.train_epoch(self.part.train_ids, self.task.key_N, 0).batches)

    def fit(self) -> FoldOutcome:
        """Train from where the checkpoint left off, or from the start, and validate.

        Raises:
            Interrupted: the user asked to stop; the checkpoint is written.
            TrainingError: the loss is not finite.
        """
        if not self.num_batches:
            raise TrainingError(
                f"Fold {self.part.fold} has no batch to train on: {len(self.part.train_ids)} "
                f"segments in batches of {self.rule.batch_size}, drop_last={self.rule.drop_last}."
            )
        self.restore()
        self.observer.fold_starts(self.part, self.rule.epochs)
        while self.epoch < self.rule.epochs and not self._ends_early:
            self._train_epoch()
            figures = self._validate_epoch()
            self.history.append(figures)
            self.observer.epoch_done(self.part.fold, self.epoch, figures)
            self.epoch, self.batch = self.epoch + 1, 0
            self.loss_sum, self.loss_count = 0.0, 0
            self.save()
        return self._outcome()

    @property
    def _ends_early(self) -> bool:
        return self.rule.selection != "last" and self.best.exhausted

    def _train_epoch(self) -> None:
        plan = self.rule.train_epoch(self.part.train_ids, self.task.key_N, self.epoch)
        batches = plan.batches
        self.observer.epoch_starts(self.part.fold, self.epoch, len(batches))
        self.model.train()
        monitor = EpochMonitor()
        warmup = round(self.rule.warmup_epochs * len(batches))
        total = self.rule.epochs * len(batches)
        for batch in monitor.watch(self.loader.run(batches[self.batch :])):
            rate = learning_rate(
                self.step, peak=self.rule.lr, warmup_steps=warmup, total_steps=total
            )
            loss = self.train_step(batch, plan.repeat_of(self.batch), rate, monitor)
            self.batch, self.step = self.batch + 1, self.step + 1
            self.observer.batch_done(self.part.fold, self.batch, loss, monitor)
            # After the last batch validation stops: by then the epoch's loader figures are kept.
            if self.batch < len(batches):
                self._save_or_stop()
        self._look_at_losses()
        if figures := monitor.summary():
            self.loader_figures.append(figures)
            self.recording = monitor.recording()

    def train_step(
        self, batch: Batch, repeat_B: IntArray | None, rate: float, monitor: EpochMonitor
    ) -> float:
        """Update the weights once; return the mean loss so far."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        inputs, target = self.prepare.to_device(batch, monitor)
        spec, target = self.prepare.augmented(batch, inputs, target, self.epoch, repeat_B, monitor)
        with self.precision.autocast():
            logits = self.model.logits(spec)
        loss = soft_cross_entropy(logits.float(), target, self.weight_C, self.rule.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        self.precision.backward(loss)
        self.precision.step(self.optimiser, self.model.network.parameters(), self.rule.clip_norm)
        self._unchecked.append((loss.detach(), batch.ids.copy()))
        if self.device.type == "cpu" or len(self._unchecked) >= _CHECK_EVERY_STEPS:
            self._look_at_losses()
        return self.loss_sum / max(1, self.loss_count)

    def _look_at_losses(self) -> None:
        """Add up the losses not yet looked at; stop at one that is not finite."""
        for loss, ids in self._unchecked:
            value = float(loss)
            if not math.isfinite(value):
                raise self._not_finite(f"The loss is {value}", ids)
            self.loss_sum += value * len(ids)
            self.loss_count += len(ids)
        self._unchecked.clear()

    def _not_finite(self, what: str, ids: IntArray) -> TrainingError:
        return TrainingError(
            f"{what} in fold {self.part.fold}, epoch {self.epoch}, batch {self.batch}. Lower "
            "optim.lr, or look at the segments of this batch: "
            + ", ".join(self.task.name(i) for i in ids.tolist())
        )

    def _validate_epoch(self) -> dict[str, float]:
        inner = self.part.inner_ids
        watched = inner if self.rule.selection == "inner" and inner is not None else None
        probs, loss = self.evaluate(self.part.valid_ids)
        figures = {
            "epoch": float(self.epoch),
            "lr": float(self.optimiser.param_groups[0]["lr"]),
            "train/loss": self.loss_sum / max(1, self.loss_count),
            "valid/loss": loss,
            "loader/valid_wait_share": self.valid_monitor.wait_share,
        }
        scores = self._scores(self.part.valid_ids, probs)
        figures |= {f"valid/{name}": value for name, value in scores.items()}
        if watched is not None:
            inner_probs, figures["inner/loss"] = self.evaluate(watched)
            scores = self._scores(watched, inner_probs)
            figures |= {f"inner/{name}": value for name, value in scores.items()}
        if self.rule.selection != "last":
            self.best.offer(self.epoch, scores[self.rule.monitor], self._weights)
        if self.loader_figures:
            figures |= self.loader_figures[-1]
        return figures

    def _weights(self) -> dict[str, Tensor]:
        return copy.deepcopy(self.model.network.state_dict())

    def _scores(self, ids: IntArray, probs: FloatArray) -> dict[str, float]:
        task = self.task
        return report(probs, task.label_N[ids], task.recording_N[ids], task.classes)

    @torch.no_grad()  # not inference mode: the loader's kept buffers are made in here, too
    def evaluate(self, ids: IntArray) -> tuple[FloatArray, float]:
        """Return probabilities float64 [n, C] of the ids, and the mean cross-entropy."""
        self.model.eval()
        monitor = self.valid_monitor = EpochMonitor()
        probs: FloatArray = np.empty((len(ids), len(self.task.classes)))
        done, loss = 0, 0.0
        for batch in self._stoppable(monitor.watch(self.loader.run(self.rule.eval_batches(ids)))):
            inputs, target = self.prepare.to_device(batch, monitor)
            with self.precision.autocast():
                logits = self.model.logits(self.prepare.clean(inputs))
            log_probs = torch.log_softmax(logits.float(), dim=1)
            if not bool(torch.isfinite(log_probs).all()):
                raise self._not_finite("The output in validation is not finite", batch.ids)
            loss -= float((target * log_probs).sum())
            probs[done : done + len(batch)] = log_probs.exp().double().cpu().numpy()
            done += len(batch)
        return probs, loss / max(1, len(ids))

    def _stoppable(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            self._save_or_stop()

    def _save_or_stop(self) -> None:
        if self.stop.asked:
            self.save()
            raise Interrupted(
                f"Stopped in fold {self.part.fold}, epoch {self.epoch}, after batch {self.batch}. "
                "All is saved: run the same command with resume=auto to go on."
            )
        if time.monotonic() - self._saved > self.rule.checkpoint_s:
            self.save()

    def _outcome(self) -> FoldOutcome:
        if self.rule.selection != "last" and self.best.weights is not None:
            self.model.network.load_state_dict(self.best.weights)
        probs, _ = self.evaluate(self.part.valid_ids)
        return FoldOutcome(
            fold=self.part.fold,
            metrics=self._scores(self.part.valid_ids, probs),
            valid_ids=self.part.valid_ids,
            probs_NC=probs,
            history=self.history,
            loader=mean_figures(self.loader_figures),
            recording=self.recording,
            best_epoch=self.epoch - 1 if self.rule.selection == "last" else self.best.epoch,
            seconds=self.seconds + time.monotonic() - self._begin,
        )

    def save(self) -> None:
        """Write the checkpoint."""
        self._look_at_losses()
        now = time.monotonic()
        self.seconds, self._begin, self._saved = self.seconds + now - self._begin, now, now
        checkpoint.save(self.path, self.state())

    def state(self) -> checkpoint.State:
        """Return all that going on needs."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.precision.state(),
            "rng": checkpoint.rng_state(),
            "best": self.best.state(),
            "recording": self.recording.state(),
            **{name: getattr(self, name) for name in _COUNTERS},
        }

    def restore(self) -> None:
        """Go back to the checkpoint, if there is one."""
        if (state := checkpoint.load(self.path, _KEPT)) is None:
            return
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise StorageError(
                f"{self.path} is of another model: the code of the model has changed since. "
                "Start anew without resume."
            ) from error
        self.precision.restore(state["scaler"])
        self.best.restore(state["best"])
        self.recording = Recording.of(state["recording"])
        for name in _COUNTERS:
            setattr(self, name, state[name])
        checkpoint.set_rng_state(state["rng"])


_COUNTERS = ("epoch", "batch", "step", "loss_sum", "loss_count", "seconds", "history",
             "loader_figures")  # fmt: skip
_KEPT = ("model", "optimiser", "scaler", "rng", "best", "recording", *_COUNTERS)
