"""`lazy-*`: recordings to log-mel batches of 64, decoded anew in every epoch."""

from __future__ import annotations

import numpy as np

from chirpid.bench.limits import LIMIT, rows_without_loader
from chirpid.bench.material import FRONTEND, Bench
from chirpid.bench.ours import OURS, inline, our_case, threads
from chirpid.bench.plain import one_pass, recordings_loader, with_workers
from chirpid.bench.timing import Case, Row
from chirpid.bench.truth import Truth
from chirpid.types import Mode

TOLERANCE_DB = 0.05
"""Two front ends in float32 differ by less; neighbouring recordings by tens of decibels."""


def lazy(bench: Bench, kind: str) -> list[Row]:
    """Return the rows of `lazy-<kind>`."""
    work, batch_size = f"lazy-{kind}", bench.batch_size(64)
    samples = bench.samples(640, batch_size=batch_size)
    recordings = bench.recordings(kind, samples)
    maker, key_N = recordings.maker(), recordings.segments.key_N
    dataset = bench.dataset(Mode.lazy, recordings)
    plain = recordings_loader(
        recordings.paths,
        num_samples=maker.num_samples,
        settings=FRONTEND,
        batch_size=batch_size,
        num_workers=bench.cores,
    )
    baseline = with_workers(bench.cores)
    limit = rows_without_loader(maker, range(samples), bench.cores, batch_size=batch_size)
    cases = [
        Case(work, LIMIT, limit, checked=False),
        Case(work, baseline, lambda seed: one_pass(plain, seed)),
        our_case(work, OURS, threads(dataset, bench.cores), key_N, batch_size),
        our_case(work, f"{OURS} inline", inline(dataset), key_N, batch_size),
    ]
    truth = Truth(
        lambda first, end: dataset.fetch(np.arange(first, end))[0],
        samples,
        tolerance=TOLERANCE_DB,
        step=64,
    )
    return bench.compare(cases, truth=truth, baseline=baseline, limit=LIMIT, samples=samples)
