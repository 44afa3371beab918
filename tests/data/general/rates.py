"""Prints how many rows a second come from HDF5 and stores: `python -m tests.data.general.rates`.

Batches of 64 rows of 4 KiB in chunks of 64, packed with gzip; medians of interleaved repetitions.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from chirpid.data.hdf5.dataset import HDF5Dataset
from chirpid.data.samplers import ShuffledSampler
from chirpid.data.tensors.store import TensorStore
from tests.data.general.h5_files import h5py, write

NUM_ROWS, ROW, BATCH, REPETITIONS = 8192, (64, 64), 64, 3
WINDOW_BYTES = 2**23
"""A quarter of the set: the rest has to be read again in an order that is no order of blocks."""


def one_by_one(path: Path) -> Any:
    """Return what reads batches as many do: h5py, row by row."""
    file = h5py.File(path)
    return lambda ids: np.stack([file["images"][i] for i in ids])


def sorted_index(path: Path) -> Any:
    """Return what reads batches by h5py's own index of rows."""
    file = h5py.File(path)
    return lambda ids: file["images"][np.sort(ids)]


def main() -> None:
    """Print a line for each way of reading."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (NUM_ROWS, *ROW), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        packed = write(root / "packed.h5", {"images": images}, chunks=(64, *ROW),
                       compression="gzip", compression_opts=1)  # fmt: skip
        plain = write(root / "plain.h5", {"images": images})
        lazy = HDF5Dataset(packed, "images", window_bytes=WINDOW_BYTES)
        stream = HDF5Dataset(packed, "images", "streaming", window_bytes=WINDOW_BYTES)
        folder = root / "s"
        TensorStore.write(folder, images).close()
        shuffled = ShuffledSampler(NUM_ROWS, BATCH).batches(0)
        few = shuffled[:4]  # of ways that take seconds for an epoch
        ways = {
            "h5py, row by row": (one_by_one(packed), few),
            "h5py, sorted index": (sorted_index(packed), few),
            "lazy, shuffled": (_reader(lazy), few),
            "streaming, order of blocks": (_reader(stream), stream.sampler(BATCH).batches(0)),
            "lazy, not packed, shuffled": (_reader(HDF5Dataset(plain, "images")), shuffled),
        }
        for mode in ("cached", "eager", "lazy", "streaming"):
            store = TensorStore(folder, mode, window_bytes=WINDOW_BYTES)
            order = store.sampler(BATCH).batches(0) if mode == "streaming" else shuffled
            ways[f"TensorStore, {mode}"] = _reader(store), order
        _print(ways)


def _reader(dataset: Any) -> Any:
    batch = dataset.layout.empty(BATCH)
    return lambda ids: dataset.read_into(ids, batch)


def _print(ways: dict[str, Any]) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPETITIONS):
        for name, (read, batches) in ways.items():
            begin = time.perf_counter()
            for ids in batches:
                read(ids)
            rates[name].append(len(batches) * BATCH / (time.perf_counter() - begin))
    for name, found in rates.items():
        print(f"{name:28} {statistics.median(found):10,.0f} rows/s")


if __name__ == "__main__":
    main()
