"""`resume`: from nothing to the next batch of an epoch that was stopped in its middle.

torch has to load again all that was trained on; torchdata's StatefulDataLoader takes up the state
of its workers. Our order is a pure function of (seed, epoch, segment), so that nothing is skipped.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from chirpid.bench.material import Bench
from chirpid.bench.other import is_there
from chirpid.bench.ours import OURS, inline, processes, shuffled, threads
from chirpid.bench.plain import BASELINE, forked, with_workers
from chirpid.bench.timing import Case, Row
from chirpid.bench.truth import Truth, unpack
from chirpid.data.datasets import SegmentDataset
from chirpid.data.order import batches_of
from chirpid.errors import BenchmarkError
from chirpid.loading.backends.base import LoaderBackend
from chirpid.seeds import U64
from chirpid.types import Mode, StartMethod, StoreDtype

WORK = "resume"
SKIPS = f"{BASELINE} that skips"
Begin = Callable[[int], tuple[Iterator[object], Callable[[], None]]]
"""Called with a seed, gives the batches from the middle on, and how to end their loader."""


class Resumption:
    """A pass of one batch, the first after the middle, held against an epoch that was not stopped.

    Args:
        begin: makes a loader that goes on in the middle, all on the clock.
        expected: the batch that comes then if nobody stops; made once a seed, off the clock.
    """

    def __init__(self, name: str, begin: Begin, expected: Callable[[int], Tensor]) -> None:
        self.name, self._begin, self._make_expected = name, begin, expected
        self._expected: dict[int, Tensor] = {}
        self._last: tuple[int, object, Callable[[], None]] | None = None

    def run(self, seed: int) -> Iterator[object]:
        """Yield the batch."""
        batches, end = self._begin(seed)
        batch = next(batches)
        self._last = (seed, batch, end)
        yield batch

    def after(self) -> None:
        """End the loader, and see whether the batch was the right one."""
        assert self._last is not None
        seed, batch, end = self._last
        if seed not in self._expected:
            self._expected[seed] = self._make_expected(seed)
        _, rows = unpack(batch)
        right = torch.equal(rows, self._expected[seed])
        self._last, batch, rows = None, None, rows.new_empty(0)
        end()
        if not right:
            raise BenchmarkError(f"{WORK}, {self.name}: another batch came than without the stop.")

    def case(self) -> Case:
        """Return the case; rows are checked here, since half an epoch is not all rows."""
        return Case(WORK, self.name, self.run, checked=False, after=self.after)


def resume(bench: Bench) -> list[Row]:
    """Return the rows of `resume`. Its limit is the same batch from a loader that runs already."""
    batch_size = bench.batch_size(64)
    samples = bench.samples(1600, batch_size=batch_size)
    recordings = bench.recordings("wav", samples)
    dataset = bench.dataset(Mode.cached, recordings, StoreDtype.float16)
    rows, _ = dataset.fetch(np.arange(samples))
    middle = -(-samples // batch_size) // 2
    key_N = recordings.segments.key_N
    ready = inline(dataset)
    cases = [
        _ours("a running loader", lambda: (ready, _nothing), dataset, key_N, batch_size, middle),
        *(_plain(rows, num_workers, batch_size, middle) for num_workers in (0, 2)),
        *(_stateful(rows, num_workers, batch_size, middle, bench.options.seeds)
          for num_workers in (0, 2) if is_there("torchdata")),
    ]  # fmt: skip
    makers: dict[str, Callable[[], LoaderBackend]] = {
        OURS: lambda: inline(dataset),
        f"{OURS} threads": lambda: threads(dataset, 2),
        # By fork, as torch starts its own here.
        f"{OURS} processes": lambda: processes(dataset, 2, StartMethod.fork),
    }
    for name, make in makers.items():
        cases.append(_ours(name, _closing(make), dataset, key_N, batch_size, middle))
    try:
        return bench.compare(
            cases, truth=Truth.of(rows), baseline=SKIPS, limit="a running loader",
            samples=batch_size,
        )  # fmt: skip
    finally:
        dataset.close()


def _nothing() -> None:
    """Leave the loader as it is."""


Made = Callable[[], tuple[LoaderBackend, Callable[[], None]]]


def _closing(make: Callable[[], LoaderBackend]) -> Made:
    def made() -> tuple[LoaderBackend, Callable[[], None]]:
        backend = make()
        return backend, backend.close

    return made


def _ours(
    name: str, make: Made, dataset: SegmentDataset, key_N: U64, batch_size: int, middle: int
) -> Case:
    def order(seed: int) -> list[Any]:
        ids = shuffled(np.arange(len(key_N)), key_N, seed=seed)
        return list(batches_of(ids, batch_size))

    def begin(seed: int) -> tuple[Iterator[object], Callable[[], None]]:
        backend, end = make()
        return iter(backend.run(order(seed)[middle:])), end

    return Resumption(name, begin, lambda seed: dataset.fetch(order(seed)[middle])[0]).case()


def _plain(rows: Tensor, num_workers: int, batch_size: int, middle: int) -> Case:
    def begin(seed: int, workers: int = num_workers) -> tuple[Iterator[object], Callable[[], None]]:
        torch.manual_seed(seed)
        loader = DataLoader(TensorDataset(rows), batch_size, shuffle=True, num_workers=workers)
        batches = forked(loader)
        for _ in range(middle):
            next(batches)
        return batches, _nothing

    def expected(seed: int) -> Tensor:
        batches, _ = begin(seed, 0)
        return unpack(next(batches))[1]

    name = SKIPS if num_workers == 0 else f"{with_workers(num_workers)} that skips"
    return Resumption(name, begin, expected).case()


def _stateful(rows: Tensor, num_workers: int, batch_size: int, middle: int, num_seeds: int) -> Case:
    library: Any = importlib.import_module("torchdata.stateful_dataloader")

    def make() -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*set_vital", UserWarning)  # torchdata calls it
            return library.StatefulDataLoader(
                TensorDataset(rows), batch_size, shuffle=True, num_workers=num_workers
            )

    states: dict[int, tuple[Any, Tensor]] = {}
    for seed in range(num_seeds):
        torch.manual_seed(seed)
        loader = make()
        batches = forked(loader)
        for _ in range(middle):
            next(batches)
        state = loader.state_dict()
        states[seed] = (state, unpack(next(batches))[1])

    def begin(seed: int) -> tuple[Iterator[object], Callable[[], None]]:
        loader = make()
        loader.load_state_dict(states[seed][0])
        return forked(loader), _nothing

    name = "StatefulDataLoader" + (f", {num_workers} workers" if num_workers else "")
    return Resumption(name, begin, lambda seed: states[seed][1]).case()
