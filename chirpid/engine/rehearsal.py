"""Training steps that leave nothing behind: for measuring what a step costs."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from chirpid.engine.checkpoint import rng_state, set_rng_state
from chirpid.engine.fold import FoldTrainer
from chirpid.engine.model import BirdModel
from chirpid.engine.observer import Observers, StopSignal
from chirpid.engine.rule import Part, Task, TrainRule
from chirpid.loading.factory import Loader
from chirpid.loading.monitor import EpochMonitor
from chirpid.types import Batch, IntArray


@contextlib.contextmanager
def same_draws() -> Iterator[None]:
    """Leave every random generator where it is, whatever is drawn inside."""
    python, numpy, torchs = random.getstate(), np.random.get_state(), rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        set_rng_state(torchs)


class Rehearsal:
    """A throw-away model with the trainer of a fold. Its steps are real but for their rate, 0.

    It draws from the random generators; `same_draws` puts them back.

    Args:
        make_model: makes an untrained model.
    """

    def __init__(
        self,
        task: Task,
        rule: TrainRule,
        make_model: Callable[[], BirdModel],
        device: torch.device,
    ) -> None:
        self.device = device
        self._replay = _Replay()
        ids = np.arange(len(task.key_N), dtype=np.int64)
        self._trainer = FoldTrainer(
            Part(0, ids, ids),
            task,
            replace(rule, mix=None, epochs=1),
            make_model(),
            self._replay,
            device=device,
            path=Path(os.devnull),
            observer=Observers([]),
            stop=StopSignal(),
        )
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def train(self, batch: Batch) -> None:
        """Train on a batch; the weights stay what they are."""
        self._trainer.model.train()
        self._trainer.train_step(batch, None, 0.0, EpochMonitor())

    def prepare(self, batch: Batch) -> float:
        """Do what comes before the network; return the seconds of the transfer in it."""
        monitor, prepare = EpochMonitor(), self._trainer.prepare
        inputs, target = prepare.to_device(batch, monitor)
        prepare.augmented(batch, inputs, target, 0)
        return monitor.transfer_s

    def evaluate(self, batch: Batch) -> None:
        """Validate a batch."""
        self._replay.batch = batch
        self._trainer.evaluate(batch.ids)

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def num_bytes(self) -> int:
        """Return the memory of the GPU that steps took at most; 0 on a CPU."""
        if self.device.type != "cuda":
            return 0
        return int(torch.cuda.max_memory_reserved(self.device))


class _Replay(Loader):
    """Hands out a batch that is there, in as many parts as are asked for."""

    batch: Batch

    def __init__(self) -> None:
        """Nothing is opened, and nothing is to be closed."""

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        first = 0
        for ids in batches:
            yield Batch(ids, self.batch.inputs[first : first + len(ids)])
            first += len(ids)
