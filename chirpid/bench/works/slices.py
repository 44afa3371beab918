"""`slices`: rows in RAM or on the disk in their order, as views of where they lie, or as copies.

`slices-read` reads each batch once, as a model would: what was not copied has to be fetched then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from chirpid.bench.material import Bench
from chirpid.bench.ours import OURS, epochs
from chirpid.bench.peaks import new_tensors_kib
from chirpid.bench.plain import BASELINE, one_pass
from chirpid.bench.timing import Case, Pass, Row
from chirpid.bench.truth import Truth, unpack
from chirpid.data.tensors.store import TensorStore
from chirpid.data.wrap import VectorizedDataset
from chirpid.loading.universal.easy import make_loader

VIEWS = "slices of a tensor"
"""The limit: nothing that returns batches can do less."""


def slices(bench: Bench, work: str, *, reads: bool) -> list[Row]:
    """Return the rows of `slices` or `slices-read`."""
    batch_size = bench.batch_size(64)
    samples = bench.samples(10_000, batch_size=batch_size)
    rows = torch.rand((samples, 784), generator=torch.Generator().manual_seed(0))
    with closing(TensorStore.write(bench.folder / work, rows, key=work)) as store:
        ways = _ways(rows, store, batch_size)
        cases = [_case(work, name, run, reads=reads) for name, run in ways.items()]
        return bench.compare(
            cases, truth=Truth.of(rows), baseline=BASELINE, limit=VIEWS, samples=samples
        )


def _ways(rows: Tensor, store: TensorStore, batch_size: int) -> dict[str, Pass]:
    vectorized = VectorizedDataset(rows)
    return {
        VIEWS: _sliced(rows, batch_size),
        BASELINE: _in_torch(TensorDataset(rows), batch_size),
        OURS: _sliced(vectorized, batch_size),
        f"{OURS} TensorStore": _sliced(store, batch_size),
        f"{OURS} make_loader": epochs(make_loader(vectorized, batch_size, shuffle=False)),
        f"{OURS} in torch DataLoader": _in_torch(vectorized, batch_size),
    }


def _sliced(dataset: Any, batch_size: int) -> Pass:
    def run(seed: int) -> Iterator[object]:
        for first in range(0, len(dataset), batch_size):
            yield dataset[first : first + batch_size]

    return run


def _in_torch(dataset: Any, batch_size: int) -> Pass:
    loader: DataLoader[Any] = DataLoader(dataset, batch_size)
    return lambda seed: one_pass(loader, seed)


def _case(work: str, name: str, run: Pass, *, reads: bool) -> Case:
    for _ in run(0):
        pass  # what is kept from batch to batch is there now
    made = {"new_tensors_kib": new_tensors_kib(run(0))}
    return Case(work, name, _read(run) if reads else run, figures=lambda: made)


def _read(run: Pass) -> Callable[[int], Iterator[object]]:
    def read(seed: int) -> Iterator[object]:
        for batch in run(seed):
            unpack(batch)[1].sum()
            yield batch

    return read
