"""HDF5 files for tests, and the damage that is done to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

NUM_ROWS = 100
IDS = np.random.default_rng(1).permutation(NUM_ROWS)
PACKED = {"chunks": (16, 5, 3), "compression": "gzip"}


def arrays(num_rows: int = NUM_ROWS, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return what the files hold: images int16 [n, 5, 3] and labels int64 [n]."""
    rng = np.random.default_rng(seed)
    images = rng.integers(-999, 999, (num_rows, 5, 3), dtype=np.int16)
    return {"images": images, "labels": np.arange(num_rows) + 1000 * seed}


def write(path: Path, tables: dict[str, np.ndarray[Any, Any]] | None = None, **images: Any) -> Path:
    """Write a file; `images` says how the dataset of that name is stored."""
    with h5py.File(path, "w") as file:
        for name, table in (arrays() if tables is None else tables).items():
            file.create_dataset(name, data=table, **(images if name == "images" else {}))
    return path


def flip_in_chunk(path: Path, name: str, row: int) -> None:
    """Change a byte of the chunk that holds a row."""
    with h5py.File(path) as file:
        item = file[name]
        first = row // item.chunks[0] * item.chunks[0]
        found = item.id.get_chunk_info_by_coord((first, *(0 for _ in item.shape[1:])))
    with open(path, "r+b") as handle:
        handle.seek(found.byte_offset + found.size // 2)
        byte = handle.read(1)[0]
        handle.seek(-1, 1)
        handle.write(bytes([byte ^ 0xFF]))


def batch_of(dataset: Any, ids: np.ndarray[Any, Any]) -> Any:
    """Return the rows of a dataset as a batch."""
    batch = dataset.layout.empty(len(ids))
    dataset.read_into(ids, batch)
    return batch.tree()


def same(
    batch: Any,
    ids: np.ndarray[Any, Any],
    expected: dict[str, np.ndarray[Any, Any]] | None = None,
) -> bool:
    """Return whether a batch has these rows of `arrays`, or of what else is expected."""
    expected = expected or arrays()
    names = ("images", "labels")
    return all(np.array_equal(batch[name].numpy(), expected[name][ids]) for name in names)
