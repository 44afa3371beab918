"""Our loaders as cases: an epoch shuffled by the seed, through one of the backends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from chirpid.bench.timing import Case, Pass
from chirpid.data.datasets import SegmentDataset
from chirpid.data.order import batches_of, epoch_order
from chirpid.loading.backends.base import LoaderBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.processes import ProcessesBackend
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.loading.factory import Loader
from chirpid.loading.memory import MemoryGuard
from chirpid.loading.universal.base import AnyLoader
from chirpid.seeds import U64
from chirpid.types import Backend, Batch, IntArray, Order, StartMethod

OURS = "chirpid"
"""The name of our best case in every work."""
MAKE_LOADER = "make_loader"
"""The name of what anyone writes, where it is not the best case."""


def shuffled(ids: IntArray, key_N: U64, *, seed: int, epoch: int = 0) -> IntArray:
    """Return `ids` in the order of an epoch."""
    return epoch_order(
        ids, key_N, order=Order.shuffled, seed=seed, epoch=epoch, block_segments=64,
        window_segments=len(key_N),
    )  # fmt: skip


def epoch(backend: LoaderBackend, key_N: U64, *, batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield the batches of an epoch; its order is made on the caller's time."""
    ids = shuffled(np.arange(len(key_N)), key_N, seed=seed)
    yield from backend.run(batches_of(ids, batch_size))


def our_case(work: str, name: str, backend: LoaderBackend, key_N: U64, batch_size: int) -> Case:
    """Return the case of a backend, which is closed with it."""
    return Case(
        work,
        name,
        lambda seed: epoch(backend, key_N, batch_size=batch_size, seed=seed),
        backend.close,
    )


def epochs(loader: AnyLoader) -> Pass:
    """Return the passes of a loader that `make_loader` has made: the epoch of the seed."""

    def run(seed: int) -> Iterator[object]:
        loader.set_epoch(seed)
        yield from loader

    return run


class Guarded:
    """A backend as a training has it: behind a `Loader` that looks at the memory in between."""

    def __init__(self, dataset: SegmentDataset, backend: LoaderBackend, name: Backend) -> None:
        self._backend = backend
        self._loader = Loader(dataset, backend, name, guard=MemoryGuard())

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one batch per array of ids, in order."""
        return self._loader.run(batches)

    def close(self) -> None:
        """End the backend alone: others have the dataset, too."""
        self._backend.close()


def inline(dataset: SegmentDataset) -> LoaderBackend:
    """Return a loader in the calling thread."""
    return Guarded(dataset, InlineBackend(dataset), Backend.inline)


def threads(dataset: SegmentDataset, num_workers: int) -> LoaderBackend:
    """Return a loader of threads, each two batches ahead."""
    backend = ThreadsBackend(dataset, num_workers=num_workers, prefetch=2)
    return Guarded(dataset, backend, Backend.threads)


def processes(
    dataset: SegmentDataset,
    num_workers: int,
    start_method: StartMethod = StartMethod.forkserver,
) -> LoaderBackend:
    """Return a loader of worker processes, each two batches ahead."""
    backend = ProcessesBackend(
        dataset, num_workers=num_workers, prefetch=2, start_method=start_method
    )
    return Guarded(dataset, backend, Backend.processes)
