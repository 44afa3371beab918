"""`wrap-*`: `CachedDataset` and `AsyncPrefetchDataset` around a dataset that decodes, time and RAM.

The dataset is plain: it reads a WAV with soundfile and makes its log-mel with torchaudio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from chirpid.bench.limits import LIMIT, copies
from chirpid.bench.material import FRONTEND, Bench, Recordings
from chirpid.bench.ours import OURS, epochs
from chirpid.bench.peaks import Opening, peaks
from chirpid.bench.plain import BASELINE, PlainRecordings, one_pass
from chirpid.bench.timing import Case, Figures, Pass, Row
from chirpid.bench.truth import Truth
from chirpid.bench.works.train import compare_training
from chirpid.data.wrap import AsyncPrefetchDataset, CachedDataset
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.optimize import optimize_dataset

FIRST = f"{OURS} first epoch"
NUM_RECORDINGS, BATCH_SIZE = 320, 32
TOLERANCE_DB = 1e-3
"""The same code on the same file; how a library adds up may depend on where memory lies."""


class ThreadSafeRecordings(PlainRecordings):
    """The same, asked by threads: decoding and spectra let others run."""

    thread_safe = True


def wrap_cached(bench: Bench) -> list[Row]:
    """Return the rows of `wrap-cached`. Its limit is a copy of the log-mels."""
    work, batch_size = "wrap-cached", bench.batch_size(BATCH_SIZE)
    samples = bench.samples(NUM_RECORDINGS, batch_size=batch_size)
    dataset = _dataset(bench.recordings("wav", samples), PlainRecordings)
    quiet = bench.say  # a line of what `optimize_dataset` made is progress, and no warning
    loader = partial(make_loader, batch_size=batch_size, say=quiet)
    ways: dict[str, Opening] = {
        BASELINE: partial(_torch_opened, lambda: dataset, batch_size),
        OURS: partial(_opened, lambda: loader(CachedDataset(dataset))),
        f"{OURS} in torch DataLoader": partial(
            _torch_opened, lambda: CachedDataset(dataset), batch_size
        ),
        f"{OURS} optimize_dataset": partial(
            _opened, lambda: loader(optimize_dataset(dataset, num_workers=0, say=quiet))
        ),
    }
    memory = peaks(ways, range(bench.options.seeds))
    truth, shape = _truth(dataset), dataset[0][0].shape
    with ExitStack() as stack:
        runs = {name: stack.enter_context(opening()) for name, opening in ways.items()}
        cases = [
            Case(work, LIMIT, copies(bench.source(samples, shape), batch_size), checked=False),
            *(_case(work, name, run, memory[name]) for name, run in runs.items()),
            _case(work, FIRST, _anew(ways[OURS]), memory[OURS]),
        ]
        return bench.compare(cases, truth=truth, baseline=BASELINE, limit=LIMIT, samples=samples)


def wrap_prefetch(bench: Bench) -> list[Row]:
    """Return the rows of `wrap-prefetch`: a network is trained while threads decode ahead."""
    batch_size = bench.batch_size(BATCH_SIZE)
    samples = bench.samples(NUM_RECORDINGS, batch_size=batch_size)
    dataset = _dataset(bench.recordings("wav", samples), ThreadSafeRecordings)
    ways: dict[str, Opening] = {
        BASELINE: partial(_torch_opened, lambda: dataset, batch_size),
        OURS: partial(_ahead_opened, dataset, batch_size, bench.cores),
        f"{OURS} 1 thread": partial(_ahead_opened, dataset, batch_size, 1),
        f"{OURS} make_loader": partial(
            _opened, lambda: make_loader(dataset, batch_size, backend="threads", say=bench.say)
        ),
    }
    memory = peaks(ways, range(bench.options.seeds))
    batch = torch.stack([dataset[number][0] for number in range(min(batch_size, samples))])
    with ExitStack() as stack:
        runs = {name: stack.enter_context(opening()) for name, opening in ways.items()}
        return compare_training(
            bench, "wrap-prefetch", runs, batch, runs[f"{OURS} 1 thread"], _truth(dataset),
            baseline=BASELINE, also=memory,
        )  # fmt: skip


def _dataset(recordings: Recordings, kind: type[PlainRecordings]) -> PlainRecordings:
    return kind(recordings.paths, recordings.maker().num_samples, FRONTEND)


def _truth(dataset: PlainRecordings) -> Truth:
    def rows_of(first: int, end: int) -> Tensor:
        return torch.stack([dataset[number][0] for number in range(first, end)])

    return Truth(rows_of, len(dataset), tolerance=TOLERANCE_DB, step=64)


def _case(work: str, name: str, run: Pass, memory: Figures) -> Case:
    return Case(work, name, run, figures=lambda: memory)


@contextmanager
def _torch_opened(make: Callable[[], Any], batch_size: int) -> Iterator[Pass]:
    loader: DataLoader[Any] = DataLoader(make(), batch_size, shuffle=True)
    yield lambda seed: one_pass(loader, seed)


@contextmanager
def _opened(make: Callable[[], Any]) -> Iterator[Pass]:
    with make() as loader:
        yield epochs(loader)


@contextmanager
def _ahead_opened(dataset: PlainRecordings, batch_size: int, num_threads: int) -> Iterator[Pass]:
    def run(seed: int) -> Iterator[object]:
        order = np.random.default_rng(seed).permutation(len(dataset))
        batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
        yield from AsyncPrefetchDataset(dataset, batches, num_threads=num_threads)

    yield run


def _anew(opening: Opening) -> Pass:
    """Return passes that begin with nothing kept."""

    def run(seed: int) -> Iterator[object]:
        with opening() as first:
            yield from first(seed)

    return run
