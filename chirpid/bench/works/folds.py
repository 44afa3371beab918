"""`folds-5x4`: five folds of four epochs each, trained and validated, from a cache.

Users of torch make a loader for the training part and one for the validation part of every fold;
their workers start anew with every epoch, unless they are told to persist, and then with every
fold. Ours are one loader that is told other ids.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from chirpid.bench.limits import LIMIT, copies
from chirpid.bench.material import Bench
from chirpid.bench.ours import OURS, inline, shuffled, threads
from chirpid.bench.plain import one_pass, with_workers
from chirpid.bench.timing import Case, Figures, Pass, Row
from chirpid.bench.truth import Truth
from chirpid.data.order import batches_of
from chirpid.loading.backends.base import LoaderBackend
from chirpid.types import IntArray, Mode, StoreDtype

WORK = "folds-5x4"
NUM_FOLDS, NUM_EPOCHS = 5, 4
Parts = list[tuple[IntArray, IntArray]]
"""The training and the validation part of each fold."""


class FoldPasses:
    """All epochs of all folds, and how long the first batch of a fold took against the others."""

    def __init__(self, epochs: Callable[[int], Iterator[Iterator[object]]]) -> None:
        self._epochs = epochs
        self._first_s: list[float] = []
        self._other_s: list[float] = []

    def run(self, seed: int) -> Iterator[object]:
        """Yield the batches; `epochs` gives an iterator a part, two to an epoch."""
        self._first_s.clear()
        self._other_s.clear()
        parts, number = self._epochs(seed), 0
        while True:
            begin, first = time.perf_counter(), True
            part = next(parts, None)
            if part is None:
                return
            while True:
                batch = next(part, None)
                seconds = time.perf_counter() - begin
                if batch is None:
                    break
                switches = first and number and number % (2 * NUM_EPOCHS) == 0
                (self._first_s if switches else self._other_s).append(seconds)
                yield batch
                begin, first = time.perf_counter(), False
            number += 1

    def figures(self) -> Figures:
        """Return how long it takes to go to the next fold, beyond an ordinary batch."""
        first, other = np.median(self._first_s), np.median(self._other_s)
        return {
            "fold_switch_ms": 1e3 * float(max(0.0, first - other)),
            "fold_first_batch_ms": 1e3 * float(first),
        }


def folds(bench: Bench) -> list[Row]:
    """Return the rows of `folds-5x4`."""
    batch_size = bench.batch_size(64)
    samples = bench.samples(1600, batch_size=batch_size)
    recordings = bench.recordings("wav", samples)
    dataset = bench.dataset(Mode.cached, recordings, StoreDtype.float16)
    rows, _ = dataset.fetch(np.arange(samples))
    fold_N = np.random.default_rng(0).permutation(samples) % NUM_FOLDS
    parts = [(np.flatnonzero(fold_N != k), np.flatnonzero(fold_N == k)) for k in range(NUM_FOLDS)]
    plain = FoldPasses(lambda seed: _plain_epochs(rows, parts, batch_size, seed))
    cases = [
        Case(WORK, LIMIT, _copied(copies(bench.source(samples, dataset.spec.shape), batch_size)),
             checked=False),
        Case(WORK, with_workers(2), plain.run, figures=plain.figures),
    ]  # fmt: skip
    backends = {OURS: inline(dataset), f"{OURS} threads": threads(dataset, 1)}
    for name, backend in backends.items():
        passes = _our_passes(backend, parts, recordings.segments.key_N, batch_size)
        cases.append(Case(WORK, name, passes.run, backend.close, passes.figures))
    num_passes = NUM_FOLDS * NUM_EPOCHS
    try:
        return bench.compare(
            cases,
            truth=Truth.of(rows, times=num_passes),
            baseline=with_workers(2),
            limit=LIMIT,
            samples=num_passes * samples,
        )
    finally:
        dataset.close()


def _our_passes(
    backend: LoaderBackend, parts: Parts, key_N: np.ndarray[tuple[int], np.dtype[np.uint64]],
    batch_size: int,
) -> FoldPasses:  # fmt: skip
    def epochs(seed: int) -> Iterator[Iterator[object]]:
        for train, valid in parts:
            for epoch in range(NUM_EPOCHS):
                order = shuffled(train, key_N, seed=seed, epoch=epoch)
                yield backend.run(batches_of(order, batch_size))
                yield backend.run(batches_of(valid, batch_size))

    return FoldPasses(epochs)


def _plain_epochs(
    rows: torch.Tensor, parts: Parts, batch_size: int, seed: int
) -> Iterator[Iterator[object]]:
    whole = TensorDataset(rows)
    for train, valid in parts:
        loaders: list[DataLoader[object]] = [
            DataLoader(Subset(whole, ids.tolist()), batch_size, shuffle=shuffle, num_workers=2)
            for ids, shuffle in ((train, True), (valid, False))
        ]
        for epoch in range(NUM_EPOCHS):
            for loader in loaders:
                yield one_pass(loader, seed + epoch)


def _copied(copy: Pass) -> Pass:
    def run(seed: int) -> Iterator[object]:
        for _ in range(NUM_FOLDS * NUM_EPOCHS):
            yield from copy(seed)

    return run
