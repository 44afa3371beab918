"""`transport-16mb`: batches of 16 MB that are ready in a worker process, brought to the caller."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader

from chirpid.bench.material import Bench
from chirpid.bench.ours import OURS, inline, processes, shuffled
from chirpid.bench.plain import PlainBatches, start_method, with_workers
from chirpid.bench.timing import Case, Row
from chirpid.bench.truth import Truth
from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.data.order import batches_of
from chirpid.loading.backends.base import LoaderBackend
from chirpid.types import IntArray, Keep, Mode, StoreDtype

WORK = "transport-16mb"
ROW_FLOATS, NUM_ROWS = 65_536, 256
IN_CALLER = f"{OURS} inline"


def transport(bench: Bench) -> list[Row]:
    """Return the rows of `transport-16mb`; its limit is to gather the batch in the caller."""
    batch_size = bench.batch_size(64)
    rows = torch.rand((NUM_ROWS, ROW_FLOATS), generator=torch.Generator().manual_seed(0))
    spec = RowSpec(keep=Keep.waveform, dtype=StoreDtype.float32, shape=(ROW_FLOATS,))
    dataset = TensorDataset(spec, rows, Mode.eager)
    times = -(-bench.samples(24 * batch_size, batch_size=batch_size) // NUM_ROWS)
    key_N = np.arange(NUM_ROWS, dtype=np.uint64)

    def batches(seed: int) -> list[IntArray]:
        ids = np.arange(NUM_ROWS)
        epochs = [shuffled(ids, key_N, seed=seed, epoch=number) for number in range(times)]
        return batches_of(np.concatenate(epochs), batch_size)

    def ours(name: str, backend: LoaderBackend) -> Case:
        def run(seed: int) -> Iterator[object]:
            yield from backend.run(batches(seed))

        return Case(WORK, name, run, backend.close)

    sampler: list[IntArray] = []
    loader: DataLoader[object] = DataLoader(
        PlainBatches(rows),
        sampler=sampler,
        batch_size=None,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context=start_method(1),
    )

    def plain(seed: int) -> Iterator[object]:
        sampler[:] = batches(seed)
        yield from loader

    cases = [
        Case(WORK, with_workers(1), plain),
        ours(OURS, processes(dataset, 1)),
        ours(IN_CALLER, inline(dataset)),
    ]
    return bench.compare(
        cases,
        truth=Truth.of(rows, times=times),
        baseline=with_workers(1),
        limit=IN_CALLER,
        samples=times * NUM_ROWS,
    )
