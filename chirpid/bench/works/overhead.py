"""`overhead`: training watched by the monitor and tracked, against the same without either."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
import psutil
import torch

from chirpid.bench.material import Bench
from chirpid.bench.model import Training
from chirpid.bench.ours import OURS, epoch, inline
from chirpid.bench.timing import Case, Figures, Row
from chirpid.bench.truth import Truth
from chirpid.data.datasets import SegmentDataset
from chirpid.loading.monitor import EpochMonitor
from chirpid.loading.monitor.usage import read_usage
from chirpid.seeds import U64
from chirpid.tracking import Tracker, open_tracker
from chirpid.types import Batch, Mode, Span, StoreDtype

WORK, UNWATCHED = "overhead", "without monitor and tracking"
_SENT_S = 120.0
_MORE_TURNS = 3
"""A difference under one percent takes more turns than a factor."""
_MANY, _TIMES = 2000, 9


class Epochs:
    """Epochs of training from a cache, in the calling thread."""

    def __init__(self, dataset: SegmentDataset, key_N: U64, batch_size: int) -> None:
        self._backend, self._key_N, self._batch_size = inline(dataset), key_N, batch_size
        self._training = Training()

    def _batches(self, seed: int) -> Iterator[Batch]:
        return epoch(self._backend, self._key_N, batch_size=self._batch_size, seed=seed)

    def unwatched(self, seed: int) -> Iterator[object]:
        """Yield each batch after the step on it."""
        for batch in self._batches(seed):
            self._training.step(batch)
            yield batch


class Watched(Epochs):
    """The same, measured batch by batch; each epoch goes to MLflow."""

    def __init__(
        self, dataset: SegmentDataset, key_N: U64, batch_size: int, tracker: Tracker
    ) -> None:
        super().__init__(dataset, key_N, batch_size)
        self._tracker = tracker
        self._run = tracker.start_run("overhead")
        tracker.flush(_SENT_S)  # the sender has started, which happens once a run
        self._num_epochs = 0
        self._costs = monitor_costs()
        self._monitor_s, self._sender_s, self._begin_s = 0.0, _children_cpu_s(), 0.0
        self._figures: Figures = {}

    def watched(self, seed: int) -> Iterator[object]:
        """Yield each batch after the step on it."""
        self._begin_s = time.perf_counter()
        monitor = EpochMonitor()
        for batch in monitor.watch(self._batches(seed)):
            self._training.step(batch)
            yield batch
        monitor.recording()
        self._tracker.log_metrics(self._run, monitor.summary(), step=self._num_epochs)
        self._num_epochs += 1
        self._monitor_s = monitor.own_s

    def after(self) -> None:
        """Let the sender finish, so that its work falls on nobody else, and note what it took."""
        elapsed_s = time.perf_counter() - self._begin_s
        self._tracker.flush(_SENT_S)
        before, self._sender_s = self._sender_s, _children_cpu_s()
        self._figures = {
            "monitor_percent": 100 * self._monitor_s / elapsed_s,
            "sender_core_ms": 1e3 * (self._sender_s - before),
            **self._costs,
        }

    def figures(self) -> Figures:
        """Return what the monitor says of itself and costs, and the CPU time of the sender."""
        return self._figures


def overhead(bench: Bench) -> list[Row]:
    """Return the rows of `overhead`."""
    batch_size = bench.batch_size(64)
    samples = bench.samples(640, batch_size=batch_size)
    recordings = bench.recordings("wav", samples)
    dataset = bench.dataset(Mode.cached, recordings, StoreDtype.float16)
    rows, _ = dataset.fetch(np.arange(samples))
    key_N, folder = recordings.segments.key_N, bench.folder / "tracked"
    folder.mkdir(exist_ok=True)
    tracker = open_tracker("mlflow", folder=folder, outputs=folder, say=bench.say)
    try:
        plain = Epochs(dataset, key_N, batch_size)
        watched = Watched(dataset, key_N, batch_size, tracker)
        cases = [
            Case(WORK, UNWATCHED, plain.unwatched),
            Case(WORK, OURS, watched.watched, figures=watched.figures, after=watched.after),
        ]
        return bench.compare(
            cases, truth=Truth.of(rows), baseline=UNWATCHED, limit=UNWATCHED, samples=samples,
            more_turns=_MORE_TURNS,
        )  # fmt: skip
    finally:
        tracker.close()
        dataset.close()


def monitor_costs() -> Figures:
    """Return what a batch that two workers made costs to watch, a look at the machine, and an end.

    From the outside: the time of a pass with the monitor less that of the same without.
    """
    batch = _made_by_two()
    pairs = [(_pass_s(repeat(batch, _MANY)), _pass_s(EpochMonitor().watch(repeat(batch, _MANY))))
             for _ in range(_TIMES)]  # fmt: skip
    looks = [_seconds(read_usage) for _ in range(10 * _TIMES)]
    ends = []
    for _ in range(_TIMES):
        monitor = EpochMonitor()
        _pass_s(monitor.watch(repeat(batch, 100)))
        ends.append(_seconds(monitor.summary))
    return {
        "monitor_batch_us": 1e6 * float(np.median([b - a for a, b in pairs])) / _MANY,
        "monitor_sample_ms": 1e3 * float(np.median(looks)),
        "monitor_summary_ms": 1e3 * float(np.median(ends)),
    }


def _made_by_two() -> Batch:
    stages = {"decode": 1e-3, "resample": 1e-3, "frontend": 1e-3, "num_cache_misses": 64.0}
    spans = tuple(Span(worker, 0.0, 1e-3, stages) for worker in (0, 1))
    return Batch(np.arange(64), torch.zeros(64, 1), stages, 1, spans)


def _pass_s(batches: Iterator[Batch]) -> float:
    return _seconds(lambda: [None for _ in batches])


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _children_cpu_s() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:  # it ended meanwhile
            continue
        total += times.user + times.system
    return total
