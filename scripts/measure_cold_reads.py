"""Measure how fast batches come from a cache that is not in RAM, by each way of reading.

    python scripts/measure_cold_reads.py FOLDER [--gib 4] [--batches 48] [--no-plain] [--seed 1]

FOLDER is on the disk to be measured; it gets a cache of random rows, which is removed at the end.
Before each measurement the file is taken out of the page cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from chirpid.data.datasets import BatchDataset, CachedDataset, DirectDataset
from chirpid.data.kept import RowSpec
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.factory import Loader
from chirpid.storage.layout import RowLayout
from chirpid.storage.rowstore import build
from chirpid.types import Backend, IntArray, Keep, StoreDtype

SPEC = RowSpec(Keep.spectrogram, StoreDtype.float16, (64, 313))
BATCH, BLOCK, WINDOW = 64, 512, 2048


def built(folder: Path, num_bytes: int) -> RowLayout:
    """Return the layout of a store of random rows."""
    layout = RowLayout(num_bytes // SPEC.row_bytes, SPEC.shape, SPEC.dtype.value, 512)
    rng = np.random.default_rng(0)

    def make(first: int, end: int, kept: torch.Tensor) -> None:
        kept.fill_(rng.random())

    build(folder, layout, make, about={}, num_threads=1)
    return layout


def batches(
    layout: RowLayout, number: int, windowed: bool, rng: np.random.Generator
) -> list[IntArray]:
    """Return batches of rows from anywhere, or from a window of a few blocks."""
    count = number * BATCH
    if not windowed:
        return np.split(rng.choice(layout.num_rows, count, replace=False), number)
    blocks = rng.choice(layout.num_rows // BLOCK, -(-count // WINDOW) * WINDOW // BLOCK, False)
    ids = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1, WINDOW)
    return np.split(rng.permuted(ids, axis=1).reshape(-1)[:count], number)


def datasets(
    folder: Path, layout: RowLayout, plain_too: bool
) -> Iterator[tuple[str, BatchDataset]]:
    """Yield each way of reading, each with nothing of the store in RAM."""
    if plain_too:
        drop(folder)
        plain = CachedDataset(SPEC, folder, layout)
        plain._ahead = None
        yield "map alone", plain
    drop(folder)
    yield "map, rows asked for (`mode.read=map`)", CachedDataset(SPEC, folder, layout)
    drop(folder)
    yield "past the page cache (`mode.read=direct`)", DirectDataset(SPEC, folder, layout)


def drop(folder: Path) -> None:
    """Take the rows out of the page cache."""
    with open(folder / "rows.bin", "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_bytes() -> int:
    """Return the bytes that this process had the disk read."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--batches", type=int, default=48)
    parser.add_argument(
        "--no-plain", action="store_true", help="without the map alone, which is slow"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = options.folder / "cold-reads"
    layout = built(folder, int(options.gib * 2**30))
    torch.set_num_threads(1)
    print(
        "| order | way | rows/s | MB/s | read / wanted | CPU µs a row |\n|---|---|---|---|---|---|"
    )
    for windowed in (False, True):
        rng = np.random.default_rng(options.seed)
        for name, dataset in datasets(folder, layout, not options.no_plain):
            wanted = batches(layout, options.batches, windowed, rng)
            reading = Loader(dataset, InlineBackend(dataset), Backend.inline)
            before, begin, cpu = read_bytes(), time.perf_counter(), time.process_time()
            rows = sum(len(batch) for batch in reading.run(wanted))
            seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
            share = (read_bytes() - before) / (rows * SPEC.row_bytes)
            print(f"| {'windowed' if windowed else 'shuffled'} | {name} | {rows / seconds:.0f} "
                  f"| {rows * SPEC.row_bytes / seconds / 1e6:.0f} | {share:.2f} "
                  f"| {cpu / rows * 1e6:.0f} |", flush=True)  # fmt: skip
            dataset.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
