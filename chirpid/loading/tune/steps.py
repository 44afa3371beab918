"""What training costs, loading apart: steps of a throw-away model on rows that are there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.loading.tune.clock import Until
from chirpid.loading.tune.costs import Costs
from chirpid.types import Batch, IntArray, Mode

_EXACT = 0.02
_FEW_STEPS = 4
_LEAST_ROWS = 16
"""Of fewer, a step tells little of one on a batch."""
_SHORT_S = 0.05
"""A step that is over so soon is made whole, however short the training is."""
REPEATED_BYTES = 2**26
"""Rows are repeated up to this size: a few would stay in the processor's cache, a set does not."""


class Learner(Protocol):
    """A throw-away model that is trained as the real one will be."""

    def train(self, batch: Batch) -> None:
        """Train on a batch: transfer, augmentation, forward, backward, update."""

    def prepare(self, batch: Batch) -> float:
        """Do what comes before the network; return the seconds of the transfer in it."""
        ...

    def evaluate(self, batch: Batch) -> None:
        """Validate a batch."""

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""

    def num_bytes(self) -> int:
        """Return the memory of the GPU that steps took at most; 0 on a CPU."""
        ...


def repeated(spec: RowSpec, rows: Tensor, num_rows: int, ram_bytes: int) -> TensorDataset:
    """Return a dataset of at most `num_rows` rows, made of a few that are repeated.

    Args:
        rows: as kept, [n, *shape]; without any, the rows are noise.
        ram_bytes: what it may take.
    """
    wanted = max(1, min(num_rows, min(REPEATED_BYTES, ram_bytes // 4) // max(1, spec.row_bytes)))
    if not len(rows):
        noise = torch.linspace(0.1, 0.9, int(np.prod(spec.shape))).reshape(1, *spec.shape)
        rows = torch.empty((1, *spec.shape), dtype=spec.torch_dtype)
        spec.narrow(spec.low + noise * (spec.high - spec.low), rows)
    whole = torch.empty((wanted, *spec.shape), dtype=spec.torch_dtype)
    for first in range(0, wanted, len(rows)):
        part = whole[first : first + len(rows)]
        part.copy_(rows[: len(part)])
    return TensorDataset(spec, whole, Mode.eager)


def random_ids(num_rows: int, size: int, turn: int) -> IntArray:
    """Return ids of a batch, spread over the rows, without drawing from any generator."""
    step = max(1, int(num_rows * 0.618))
    while math.gcd(step, num_rows) > 1:
        step += 1
    return (np.arange(turn * size, (turn + 1) * size, dtype=np.int64) * step) % num_rows


def step_costs(
    dataset: TensorDataset,
    learner: Learner,
    *,
    batch_size: int,
    budget_s: float,
    most_steps: float,
    on_gpu: bool,
) -> Costs:
    """Return what a step takes, and the gather before it; of rows, nothing.

    On a processor, a step on fewer rows stands for one that would take too much of a short
    training: it is taken for as much longer as there are more rows in a batch.

    Args:
        most_steps: steps at most, the first one not counted. Of very few, or if the first took
            all the time there is, validation is taken for a third of a step, and a step is not
            taken apart.
    """
    buffers = [torch.empty((batch_size, *dataset.spec.shape)) for _ in range(2)]
    gather_s = _gather_seconds(dataset, buffers, min(0.03, budget_s / 10))
    batches = [_batch(dataset, buffers[turn], turn) for turn in range(2)]
    known, is_whole = _steps_alone(learner, batches, budget_s, most_steps, on_gpu=on_gpu)
    known = replace(known, gather_s=gather_s)
    if most_steps >= _FEW_STEPS and is_whole:
        known = _taken_apart(known, learner, batches, budget_s, int(most_steps), on_gpu=on_gpu)
    return replace(known, step_bytes=learner.num_bytes())


def _steps_alone(
    learner: Learner, batches: Sequence[Batch], budget_s: float, most_steps: float, *, on_gpu: bool
) -> tuple[Costs, bool]:
    """Return what a step takes, and whether more than the first was made."""
    batch_size = first = part = len(batches[0].ids)
    if not on_gpu:
        first = min(batch_size, _LEAST_ROWS)
        part = min(batch_size, max(_LEAST_ROWS, int(batch_size * most_steps / 2)))
    begin = time.perf_counter()
    # Kernels are chosen and memory is taken: not counted, if possible.
    _once(learner, _first_rows(batches[0], first))
    first_s = time.perf_counter() - begin
    if first_s * batch_size / first <= _SHORT_S:
        part = batch_size
    parts, scale = [_first_rows(one, part) for one in batches], batch_size / part
    asked: list[float] = []
    cpu_s = time.process_time()
    steps = _repeat(
        lambda turn: asked.append(_once(learner, parts[turn % 2])),
        budget_s - first_s,
        most=max(1, int(most_steps)),
    )
    cpu_s = scale * (time.process_time() - cpu_s) / max(1, len(steps))
    step_s = scale * _typical(steps) if steps else first_s * batch_size / first
    free_s = max(0.0, step_s - float(np.mean(asked))) if on_gpu and asked else 0.0
    if not steps:
        cpu_s = step_s * (1 if on_gpu else torch.get_num_threads())
    costs = Costs(
        batch_size=batch_size,
        step_s=step_s,
        step_core_s=cpu_s,
        free_s=free_s,
        eval_s=step_s / 3,
    )
    return costs, bool(steps)


def _taken_apart(
    known: Costs,
    learner: Learner,
    batches: Sequence[Batch],
    budget_s: float,
    most: int,
    *,
    on_gpu: bool,
) -> Costs:
    """Return the costs with what validating, copying and augmenting a batch take."""
    evals = _repeat(
        lambda turn: _evaluate(learner, batches[turn % 2]), budget_s / 5, least=1, most=most
    )
    transfers: list[float] = []

    def prepare(turn: int) -> None:
        transfers.append(learner.prepare(batches[turn % 2]))
        learner.wait()

    prepared = _repeat(prepare, budget_s / 10, least=1, most=most)
    transfer_s = float(np.median(transfers))
    return replace(
        known,
        eval_s=float(np.median(evals)),
        transfer_s=transfer_s,
        augment_s=max(0.0, float(np.median(prepared)) - transfer_s),
        pinned_gain=_pinned_gain(learner, batches[0], budget_s / 10) if on_gpu else 0.0,
    )


def _first_rows(batch: Batch, num_rows: int) -> Batch:
    return Batch(batch.ids[:num_rows], batch.inputs[:num_rows])


def _once(learner: Learner, batch: Batch) -> float:
    """Make a step; return the seconds until the device was told all of it."""
    begin = time.perf_counter()
    learner.train(batch)
    told_s = time.perf_counter() - begin
    learner.wait()
    return told_s


def _evaluate(learner: Learner, batch: Batch) -> None:
    learner.evaluate(batch)
    learner.wait()


def _repeat(
    work: Callable[[int], None], budget_s: float, *, least: int = 0, most: int = 200
) -> list[float]:
    """Return the seconds of each call, until their mean is known or the time is up."""
    until = Until(budget_s)
    seconds: list[float] = []
    while len(seconds) < least or (len(seconds) < most and not until.is_over):
        begin = time.perf_counter()
        work(len(seconds))
        seconds.append(time.perf_counter() - begin)
        if len(seconds) >= 5 and len(seconds) > least and _is_known(seconds):
            break
    return seconds


def _typical(seconds: list[float]) -> float:
    """Return the median; of very few the least, as the first steps still find their memory."""
    return float(np.median(seconds)) if len(seconds) >= 5 else min(seconds)


def _is_known(seconds: list[float]) -> bool:
    return bool(np.std(seconds, ddof=1) / len(seconds) ** 0.5 < _EXACT * np.mean(seconds))


def _batch(dataset: TensorDataset, buffer: Tensor, turn: int) -> Batch:
    ids = random_ids(dataset.num_segments, len(buffer), turn)
    inputs, _ = dataset.fetch(ids, buffer)
    return Batch(ids, inputs)


def _gather_seconds(dataset: TensorDataset, buffers: list[Tensor], budget_s: float) -> float:
    """Return the seconds a sample of gathering batches."""
    size = len(buffers[0])
    ids = [random_ids(dataset.num_segments, size, turn) for turn in range(8)]
    dataset.fetch(ids[0], buffers[0])  # pages of fresh memory come with the first use
    dataset.fetch(ids[1], buffers[1])

    def gather(turn: int) -> None:
        dataset.fetch(ids[turn % 8], buffers[turn % 2])

    seconds = _repeat(gather, budget_s, least=4)
    return float(np.median(seconds)) / size


def _pinned_gain(learner: Learner, batch: Batch, budget_s: float) -> float:
    """Return the share of the transfer that page-locked memory saves."""
    pinned = Batch(batch.ids, batch.inputs.pin_memory())

    def copied(one: Batch) -> float:
        def copy(turn: int) -> None:
            learner.prepare(one)
            learner.wait()

        return float(np.median(_repeat(copy, budget_s / 2, least=3)))

    plain_s, pinned_s = copied(batch), copied(pinned)
    return max(0.0, 1 - pinned_s / max(plain_s, 1e-12))
