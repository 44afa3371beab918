"""`cached-*`: log-mel kept on the disk in some number type, to float32 batches of 64."""

from __future__ import annotations

import numpy as np

from chirpid.bench.limits import LIMIT, copies, copies_on_one_thread
from chirpid.bench.material import Bench
from chirpid.bench.other import others
from chirpid.bench.ours import OURS, inline, our_case, processes, threads
from chirpid.bench.plain import BASELINE, one_pass, rows_loader, with_workers
from chirpid.bench.timing import Case, Row
from chirpid.bench.truth import Truth
from chirpid.types import Mode, StoreDtype

WITH_PEERS = "cached-f16"
"""Peers take longest: once is enough, in the number type that is usual here."""


def cached(bench: Bench, work: str, dtype: StoreDtype) -> list[Row]:
    """Return the rows of a `cached-*` work."""
    batch_size = bench.batch_size(64)
    samples = bench.samples(1600, batch_size=batch_size)
    recordings = bench.recordings("wav", samples)
    dataset = bench.dataset(Mode.cached, recordings, dtype)
    rows, _ = dataset.fetch(np.arange(samples))
    key_N = recordings.segments.key_N
    source = bench.source(samples, dataset.spec.shape)
    plain = rows_loader(rows, batch_size=batch_size, num_workers=0)
    # A copy: what is sent to workers moves to shared memory, which has pages of another size.
    plain_workers = rows_loader(rows.clone(), batch_size=batch_size, num_workers=2)
    cases = [
        Case(work, LIMIT, copies(source, batch_size), checked=False),
        Case(work, "copy, 1 thread", copies_on_one_thread(source, batch_size), checked=False),
        Case(work, BASELINE, lambda seed: one_pass(plain, seed)),
        Case(work, with_workers(2), lambda seed: one_pass(plain_workers, seed)),
        our_case(work, OURS, inline(dataset), key_N, batch_size),
        our_case(work, f"{OURS} threads", threads(dataset, 1), key_N, batch_size),
        our_case(work, f"{OURS} processes", processes(dataset, 2), key_N, batch_size),
    ]
    if work == WITH_PEERS:
        cases += others(work, rows.half(), bench.folder, batch_size, bench.say)
    truth = Truth.of(rows)
    try:
        return bench.compare(cases, truth=truth, baseline=BASELINE, limit=LIMIT, samples=samples)
    finally:
        dataset.close()
