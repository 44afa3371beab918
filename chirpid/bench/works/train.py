"""`train-*`: a small network trained on all cores, which loading has to share with it.

The wait share alone flatters a loader that takes the model's cores, so epochs are held against a
bound as well: no epoch is shorter than that of the model alone, nor than all the work there is,
(core-seconds of the model + core-seconds of loading) / cores. Those of the model are taken with one
thread, too, and the smaller figure counts: several spin while they wait for each other, which is no
work. Everybody trains with freed memory kept, as the engine does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial

import numpy as np
from torch import Tensor

from chirpid.bench.facts import own_cpu_s
from chirpid.bench.limits import rows_without_loader
from chirpid.bench.material import FRONTEND, Bench
from chirpid.bench.model import Training, TrainingPasses
from chirpid.bench.ours import OURS, epoch, inline, threads
from chirpid.bench.plain import BASELINE, one_pass, recordings_loader, rows_loader, with_workers
from chirpid.bench.timing import Case, Figures, Pass, Row, Turns
from chirpid.bench.truth import Truth
from chirpid.bench.works.lazy import TOLERANCE_DB
from chirpid.engine.precision import threads as torch_threads
from chirpid.loading.backends.base import LoaderBackend
from chirpid.native.heap import kept_memory
from chirpid.seeds import U64
from chirpid.types import FloatArray, Mode, StoreDtype

ALONE, ALONE_1, LOADING = "model alone", "model alone, 1 thread", "loading alone"
NUM_SEGMENTS = 640


def train_cached(bench: Bench) -> list[Row]:
    """Return the rows of `train-cached`: rows in float16 on the disk, or float32 in RAM."""
    batch_size = bench.batch_size(64)
    samples = bench.samples(NUM_SEGMENTS, batch_size=batch_size)
    recordings = bench.recordings("wav", samples)
    dataset = bench.dataset(Mode.cached, recordings, StoreDtype.float16)
    rows, _ = dataset.fetch(np.arange(samples))
    plain = {n: rows_loader(rows.clone(), batch_size=batch_size, num_workers=n) for n in (0, 2)}
    with ExitStack() as stack:
        stack.callback(dataset.close)
        backends = {OURS: inline(dataset), f"{OURS} threads": threads(dataset, 1)}
        ours = _passes(backends, recordings.segments.key_N, batch_size, stack)
        passes = {
            BASELINE: lambda seed: one_pass(plain[0], seed),
            with_workers(2): lambda seed: one_pass(plain[2], seed),
            **ours,
        }
        batch = rows[:batch_size].clone()
        return compare_training(bench, "train-cached", passes, batch, ours[OURS], Truth.of(rows))


def train_lazy_flac(bench: Bench) -> list[Row]:
    """Return the rows of `train-lazy-flac`: every epoch decodes FLAC and makes log-mel."""
    batch_size = bench.batch_size(64)
    samples = bench.samples(NUM_SEGMENTS, batch_size=batch_size)
    recordings = bench.recordings("flac", samples)
    maker, dataset = recordings.maker(), bench.dataset(Mode.lazy, recordings)
    plain = {
        n: recordings_loader(
            recordings.paths, num_samples=maker.num_samples, settings=FRONTEND,
            batch_size=batch_size, num_workers=n,
        )
        for n in (0, 2)
    }  # fmt: skip
    truth = Truth(
        lambda first, end: dataset.fetch(np.arange(first, end))[0], samples,
        tolerance=TOLERANCE_DB, step=64,
    )  # fmt: skip
    with ExitStack() as stack:
        backends = {
            OURS: threads(dataset, bench.cores),
            f"{OURS} 1 thread": threads(dataset, 1),
            f"{OURS} inline": inline(dataset),
        }
        passes = {
            BASELINE: lambda seed: one_pass(plain[0], seed),
            with_workers(2): lambda seed: one_pass(plain[2], seed),
            **_passes(backends, recordings.segments.key_N, batch_size, stack),
        }
        batch, _ = dataset.fetch(np.arange(min(batch_size, samples)))
        loading = rows_without_loader(maker, range(samples), bench.cores, batch_size=batch_size)
        return compare_training(bench, "train-lazy-flac", passes, batch, loading, truth)


def _passes(
    backends: dict[str, LoaderBackend], key_N: U64, batch_size: int, stack: ExitStack
) -> dict[str, Pass]:
    """Return the passes of our loaders, which end with the stack."""
    for backend in backends.values():
        stack.callback(backend.close)
    return {name: _epochs(backend, key_N, batch_size) for name, backend in backends.items()}


def _epochs(backend: LoaderBackend, key_N: U64, batch_size: int) -> Pass:
    return lambda seed: epoch(backend, key_N, batch_size=batch_size, seed=seed)


def compare_training(
    bench: Bench, work: str, passes: dict[str, Pass], batch: Tensor, loading: Pass, truth: Truth,
    *, baseline: str = ALONE, also: Mapping[str, Figures] | None = None,
) -> list[Row]:  # fmt: skip
    """Return the rows of training on each of `passes`, and of training on one `batch` again.

    Args:
        loading: passes without a step, whose core-seconds count in the bound.
        also: figures that are known already, by case.
    """
    training, samples = Training(), len(truth.times_N)

    def reused(seed: int) -> Iterator[object]:
        for first in range(0, samples, len(batch)):
            yield batch[: min(len(batch), samples - first)]

    def reused_1(seed: int) -> Iterator[object]:
        with torch_threads(1):
            yield from reused(seed)

    alone, alone_1 = TrainingPasses(training, reused), TrainingPasses(training, reused_1)
    only_loading = CoreSeconds(loading)
    cases = [
        Case(work, ALONE, alone.run, figures=alone.figures, checked=False),
        Case(work, ALONE_1, alone_1.run, figures=alone_1.figures, checked=False),
        Case(work, LOADING, only_loading.run, figures=only_loading.figures, checked=False),
    ]
    for name, batches in passes.items():
        trained = TrainingPasses(training, batches)
        figures = partial(_together, trained, (also or {}).get(name, {}))
        cases.append(Case(work, name, trained.run, figures=figures))

    def bound(turns: Turns) -> FloatArray:
        model_s = np.minimum(turns.figure(ALONE, "core_s"), turns.figure(ALONE_1, "core_s"))
        work_s = model_s + turns.figure(LOADING, "core_s")
        both: FloatArray = np.maximum(turns.seconds[ALONE], work_s / bench.cores)
        return both

    with kept_memory():
        return bench.compare(
            cases, truth=truth, baseline=baseline, limit=bound, limit_name="work-conserving bound",
            samples=samples,
        )  # fmt: skip


def _together(trained: TrainingPasses, also: Figures) -> Figures:
    return {**trained.figures(), **also}


class CoreSeconds:
    """Passes of which it is known how many core-seconds they took."""

    def __init__(self, batches: Pass) -> None:
        self._batches, self._cpu_s = batches, 0.0

    def run(self, seed: int) -> Iterator[object]:
        """Yield the batches."""
        begin = own_cpu_s()
        yield from self._batches(seed)
        self._cpu_s = own_cpu_s() - begin

    def figures(self) -> Figures:
        """Return the core-seconds of the last pass."""
        return {"core_s": self._cpu_s}
