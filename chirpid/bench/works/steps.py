"""`step-*`: what loading adds to training steps of some milliseconds, at 100 samples and at 10,000.

The network is that of torch's MNIST example. A dataset of Python objects has to make its samples
whoever loads them; `items alone` is what that takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from chirpid.bench.material import Bench
from chirpid.bench.ours import OURS, epochs
from chirpid.bench.plain import BASELINE, one_pass
from chirpid.bench.timing import Case, Figures, Pass, Row
from chirpid.bench.truth import Truth
from chirpid.loading.universal.easy import make_loader
from chirpid.native.heap import kept_memory

ALONE, ITEMS_ALONE = "steps alone", "items alone"
CLASSES = 10
CHANNELS = (32, 64)
BUDGET_S = 300.0
"""At 10,000 samples a turn takes half a minute, and there are to be five."""


class Items:
    """Images and their numbers, a Python object each."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], index


class Steps:
    """Passes with a training step on every batch, and the time that they waited for batches."""

    def __init__(self, batches: Pass) -> None:
        self._batches = batches
        self._waited_s: list[float] = []
        self._stepped_s: list[float] = []
        self._num_batches = 1
        self.net = _net()
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=1e-4, momentum=0.9)

    def run(self, seed: int) -> Iterator[object]:
        """Yield each batch after the step on it: a `next()` is the wait and the step."""
        waited_s = stepped_s = 0.0
        num_batches = 0
        source = self._batches(seed)
        while True:
            asked = time.perf_counter()
            batch = next(source, None)
            got = time.perf_counter()
            waited_s += got - asked
            if batch is None:
                break
            self._step(*batch)  # type: ignore[misc]
            stepped_s += time.perf_counter() - got
            num_batches += 1
            yield batch
        self._waited_s.append(waited_s)
        self._stepped_s.append(stepped_s)
        self._num_batches = num_batches

    def _step(self, images: Tensor, number_B: Tensor) -> None:
        loss = nn.functional.cross_entropy(self.net(images), number_B % CLASSES)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def figures(self) -> Figures:
        """Return the wait in percent of the steps and for a batch, since this was asked last."""
        waited_s, stepped_s = np.array(self._waited_s), np.array(self._stepped_s)
        self._waited_s, self._stepped_s = [], []
        return {
            "wait_percent": 100 * float(np.median(waited_s / stepped_s)),
            "wait_us": 1e6 * float(np.median(waited_s)) / self._num_batches,
            "step_ms": 1e3 * float(np.median(stepped_s)) / self._num_batches,
        }


def _net() -> nn.Module:
    """Return what takes images [B, 1, 28, 28] to logits [B, CLASSES]."""
    first, second = CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, first, 3), nn.ReLU(), nn.Conv2d(first, second, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(), nn.Linear(12 * 12 * second, 128),
        nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, CLASSES),
    )  # fmt: skip


def steps(bench: Bench, work: str, num_samples: int) -> list[Row]:
    """Return the rows of `step-100` or `step-10000`."""
    batch_size = bench.batch_size(32)
    samples = bench.samples(num_samples, batch_size=batch_size)
    images = torch.rand((samples, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    columns, items = TensorDataset(images, torch.arange(samples)), Items(images)
    loaders = {
        OURS: make_loader(columns, batch_size),
        f"{OURS} items": make_loader(items, batch_size),
    }
    passes: dict[str, Pass] = {
        BASELINE: _in_torch(columns, batch_size),
        f"{BASELINE}, items": _in_torch(items, batch_size),
        **{name: epochs(loader) for name, loader in loaders.items()},
    }
    alone = {
        ALONE: _reused(columns, batch_size, None),
        ITEMS_ALONE: _reused(columns, batch_size, items),
    }
    cases = []
    for name, batches in (alone | passes).items():
        trained = Steps(batches)
        close = loaders[name].close if name in loaders else _nothing
        cases.append(Case(work, name, trained.run, close, trained.figures, name not in alone))
    with kept_memory():
        return bench.compare(
            cases, truth=Truth.of(images), baseline=BASELINE, limit=ALONE, samples=samples,
            budget_s=max(bench.options.budget_s, BUDGET_S),
        )  # fmt: skip


def _nothing() -> None:
    """Leave everything open."""


def _in_torch(dataset: Any, batch_size: int) -> Pass:
    loader: DataLoader[Any] = DataLoader(dataset, batch_size, shuffle=True)
    return lambda seed: one_pass(loader, seed)


def _reused(columns: TensorDataset, batch_size: int, items: Items | None) -> Pass:
    """Return passes of one batch again and again; samples are made first and dropped, if given."""
    images, number_B = (tensor[:batch_size].clone() for tensor in columns.tensors)

    def run(seed: int) -> Iterator[object]:
        order = np.random.default_rng(seed).permutation(len(columns)).tolist()
        for first in range(0, len(order), batch_size):
            ids = order[first : first + batch_size]
            if items is not None:
                _ = [items[number] for number in ids]
            yield images[: len(ids)], number_B[: len(ids)]

    return run
