"""Loaders side by side: cached and lazy batches, ours against plain torch and the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from chirpid.audio.encode import write_audio
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.segment import SegmentRule
from chirpid.bench.plain import one_pass, recordings_loader, rows_loader
from chirpid.bench.timing import Case, Row, compare
from chirpid.data.check import check_recordings
from chirpid.data.datasets import LazyDataset
from chirpid.data.modes import StoreOptions, open_dataset, store_key
from chirpid.data.order import batches_of, epoch_order
from chirpid.data.rows import RowMaker
from chirpid.data.segments import SegmentTable, make_segments
from chirpid.data.sources import load_manifest
from chirpid.loading.backends.base import LoaderBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.processes import ProcessesBackend
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.loading.hardware import usable_cores
from chirpid.storage.parallel import for_each
from chirpid.types import Keep, Mode, Order, StartMethod, StoreDtype

RATE_HZ, DURATION_S = 32000, 5.0
FRONTEND: dict[str, Any] = {
    "kind": "logmel",
    "sample_rate_hz": RATE_HZ,
    "fft_samples": 1024,
    "hop_samples": 320,
    "num_mels": 128,
    "fmin_hz": 50.0,
    "fmax_hz": 15000.0,
}
FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS")}
LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured."""

    samples: int = 1600
    batch_size: int = 64
    seeds: int = 5


def write_recordings(folder: Path, kind: str, count: int) -> None:
    """Write `count` recordings of one window each: noise with a few sweeps, not silence."""
    container, subtype = FORMATS[kind]
    generator = np.random.default_rng(0)
    time_s = np.arange(round(RATE_HZ * DURATION_S)) / RATE_HZ
    (folder / "audio").mkdir(parents=True)
    names = [f"audio/{number:05d}.{kind}" for number in range(count)]
    for name in names:
        sweep = np.sin(2 * np.pi * (2000 + 3000 * generator.random() * time_s) * time_s)
        wave = 0.2 * sweep * (np.sin(7 * time_s) > 0) + 0.02 * generator.standard_normal(
            len(time_s)
        )
        write_audio(
            folder / name, wave.astype(np.float32), RATE_HZ, container=container, subtype=subtype
        )
    labels = [f"bird {number % 2}" for number in range(count)]
    pd.DataFrame({"filename": names, "label": labels}).to_csv(folder / "metadata.csv", index=False)


def segments_of(folder: Path) -> SegmentTable:
    """Return the windows of a folder of recordings."""
    manifest = load_manifest("csv", name="bench", root=folder, table="metadata.csv")
    checked = check_recordings(manifest, kind="header")
    rule = SegmentRule(duration_s=DURATION_S)
    return make_segments(checked.manifest, checked.levels, rule)[0]


def lazy(folder: Path, kind: str, options: Options, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of `lazy-<kind>`: files to log-mel batches."""
    write_recordings(folder / kind, kind, options.samples)
    segments, cores = segments_of(folder / kind), usable_cores()
    maker = RowMaker(
        segments,
        FrontEnd(**FRONTEND),
        keep=Keep.spectrogram,
        dtype=StoreDtype.float32,
    )
    dataset = LazyDataset(maker)
    plain = recordings_loader(
        sorted((folder / kind / "audio").iterdir()),
        num_samples=maker.num_samples,
        settings=FRONTEND,
        batch_size=options.batch_size,
        num_workers=cores,
    )
    work, row = f"lazy-{kind}", torch.empty(maker.spec.shape)

    def limit(seed: int) -> Iterator[object]:
        for_each(lambda i: maker.make(i, row.clone(), {}), range(len(segments)), num_threads=cores)
        return iter(())

    threads = ThreadsBackend(dataset, num_workers=cores, prefetch=2)
    cases = [
        Case(work, LIMIT, _as_first_batch(limit)),
        Case(work, f"torch DataLoader, {cores} workers", lambda seed: one_pass(plain, seed)),
        _ours(work, "chirpid", threads, segments, options),
        _ours(work, "chirpid inline", InlineBackend(dataset), segments, options),
    ]
    return _compare(cases, options, len(segments), say)


def cached(
    folder: Path, dtype: StoreDtype, options: Options, say: Callable[[str], None]
) -> list[Row]:
    """Return the rows of `cached-f16` or `cached-f32`: kept log-mel to float32 batches."""
    source = folder / "cached"
    if not source.exists():
        write_recordings(source, "wav", options.samples)
    segments = segments_of(source)
    maker = RowMaker(segments, FrontEnd(**FRONTEND), keep=Keep.spectrogram, dtype=dtype)
    store = StoreOptions(
        cache_root=folder / "cache", cache_bytes=2**40, ram_bytes=2**40,
        num_threads=usable_cores(), shard_segments=512, window_segments=2**30,
    )  # fmt: skip
    dataset = open_dataset(
        Mode.cached, maker, key=store_key(maker, FRONTEND), about={}, options=store
    )
    rows, _ = dataset.fetch(np.arange(len(segments)))
    work = "cached-f16" if dtype is StoreDtype.float16 else "cached-f32"
    plain = rows_loader(rows, batch_size=options.batch_size, num_workers=0)
    plain_workers = rows_loader(rows, batch_size=options.batch_size, num_workers=2)
    target = torch.empty((options.batch_size, *rows.shape[1:]))

    def copies(seed: int) -> Iterator[object]:
        for first in range(0, len(rows), options.batch_size):
            part = rows[first : first + options.batch_size]
            yield target[: len(part)].copy_(part)

    processes = ProcessesBackend(
        dataset, num_workers=2, prefetch=2, start_method=StartMethod.forkserver
    )
    threads = ThreadsBackend(dataset, num_workers=1, prefetch=2)
    cases = [
        Case(work, LIMIT, copies),
        Case(work, "torch DataLoader", lambda seed: one_pass(plain, seed)),
        Case(work, "torch DataLoader, 2 workers", lambda seed: one_pass(plain_workers, seed)),
        _ours(work, "chirpid", InlineBackend(dataset), segments, options),
        _ours(work, "chirpid threads", threads, segments, options),
        _ours(work, "chirpid processes", processes, segments, options),
    ]
    return _compare(cases, options, len(segments), say)


def _ours(
    work: str, name: str, backend: LoaderBackend, segments: SegmentTable, options: Options
) -> Case:
    ids = np.arange(len(segments))

    def run(seed: int) -> Iterator[object]:
        order = epoch_order(
            ids, segments.key_N, order=Order.shuffled, seed=seed, epoch=0, block_segments=512,
            window_segments=len(ids),
        )  # fmt: skip
        batches = batches_of(order, options.batch_size)
        return iter(backend.run(batches))

    return Case(work, name, run, backend.close)


def _as_first_batch(work: Callable[[int], Iterator[object]]) -> Callable[[int], Iterator[object]]:
    """Return a pass whose first `next()` does all the work, so that it is timed."""

    def run(seed: int) -> Iterator[object]:
        yield from work(seed)

    return run


def _compare(
    cases: Sequence[Case], options: Options, num_segments: int, say: Callable[[str], None]
) -> list[Row]:
    return compare(
        cases,
        baseline=cases[1].name,
        limit=LIMIT,
        num_samples=num_segments,
        seeds=range(options.seeds),
        say=say,
    )


def works(options: Options) -> dict[str, Callable[[Path, Callable[[str], None]], list[Row]]]:
    """Return what can be measured, by its stable name."""
    table: dict[str, Callable[[Path, Callable[[str], None]], list[Row]]] = {
        "cached-f16": lambda folder, say: cached(folder, StoreDtype.float16, options, say),
        "cached-f32": lambda folder, say: cached(folder, StoreDtype.float32, options, say),
    }
    for kind in FORMATS:
        table[f"lazy-{kind}"] = lambda folder, say, kind=kind: lazy(folder, kind, options, say)  # type: ignore[misc]
    return table
