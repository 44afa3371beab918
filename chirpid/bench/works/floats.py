"""`floats-784`: small rows of floats in RAM, batches of 32, where every microsecond shows."""

from __future__ import annotations

import numpy as np
import torch

from chirpid.bench.limits import LIMIT, copies_on_one_thread
from chirpid.bench.material import Bench
from chirpid.bench.other import others, tensordict_by_index
from chirpid.bench.ours import MAKE_LOADER, OURS, epochs, inline, our_case, threads
from chirpid.bench.plain import BASELINE, one_pass, rows_loader
from chirpid.bench.timing import Case, Row
from chirpid.bench.truth import Truth
from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.loading.universal.easy import make_loader
from chirpid.types import Keep, Mode, StoreDtype

WORK = "floats-784"
IN_RAM = ("tensordict", "StatefulDataLoader", "Grain")


def floats(bench: Bench) -> list[Row]:
    """Return the rows of `floats-784`."""
    batch_size = bench.batch_size(32)
    samples = bench.samples(10_000, batch_size=batch_size)
    rows = torch.rand((samples, 784), generator=torch.Generator().manual_seed(0))
    spec = RowSpec(keep=Keep.waveform, dtype=StoreDtype.float32, shape=(784,))
    dataset = TensorDataset(spec, rows, Mode.eager)
    plain = rows_loader(rows, batch_size=batch_size, num_workers=0)
    key_N = np.arange(samples, dtype=np.uint64)
    anyones = make_loader(rows, batch_size)
    cases = [
        Case(WORK, LIMIT, copies_on_one_thread(rows, batch_size)),
        Case(WORK, "copy in one piece", copies_on_one_thread(rows, samples)),
        Case(WORK, BASELINE, lambda seed: one_pass(plain, seed)),
        our_case(WORK, OURS, inline(dataset), key_N, batch_size),
        our_case(WORK, f"{OURS} threads", threads(dataset, 1), key_N, batch_size),
        Case(WORK, MAKE_LOADER, epochs(anyones), anyones.close),
        *tensordict_by_index(WORK, rows, batch_size),
        *others(WORK, rows.clone(), bench.folder, batch_size, bench.say, IN_RAM),
    ]
    return bench.compare(
        cases, truth=Truth.of(rows), baseline=BASELINE, limit=LIMIT, samples=samples
    )
