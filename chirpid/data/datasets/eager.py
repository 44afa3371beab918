"""Segments that are all made at the start and kept in RAM."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor

from chirpid.data.datasets.tensor import TensorDataset
from chirpid.data.rows import RowMaker
from chirpid.errors import BudgetError
from chirpid.storage.caches import hold
from chirpid.storage.layout import RowLayout
from chirpid.storage.parallel import Progress, for_each
from chirpid.storage.rowstore import read_rows
from chirpid.types import Mode


def check_shared_memory(need_bytes: int, place: Path = Path("/dev/shm")) -> None:
    """Refuse what does not fit into shared memory: writing to it would kill the process.

    Raises:
        BudgetError: there is too little of it, as in a container with its default of 64 MiB.
    """
    if not place.is_dir():
        return
    free = shutil.disk_usage(place).free
    if need_bytes > free:
        raise BudgetError(
            f"mode=eager needs {need_bytes / 2**20:.0f} MiB of shared memory for worker processes, "
            f"{place} has {free / 2**20:.0f} MiB free. Use loader.backend=threads or mode=cached, "
            "or give the container more (docker run --shm-size)."
        )


def load_eager(
    maker: RowMaker,
    *,
    share: bool,
    num_threads: int,
    progress: Progress | None = None,
    store: tuple[Path, RowLayout] | None = None,
) -> TensorDataset:
    """Return all rows in RAM.

    Args:
        share: in shared memory, for worker processes that are not forked.
        store: a whole store of the same rows, which are then read and not made.
    Raises:
        StorageError: the store is damaged.
    """
    num_rows, chunk = len(maker.segments), 16
    if share:
        check_shared_memory(num_rows * maker.spec.row_bytes)
    rows = torch.empty((num_rows, *maker.spec.shape), dtype=maker.spec.torch_dtype)
    if share:
        rows.share_memory_()  # type: ignore[no-untyped-call]

    if store is not None:
        _read_store(*store, rows, num_threads, progress)
        return TensorDataset(maker.spec, rows, Mode.eager)

    def work(first: int) -> None:
        end = min(first + chunk, num_rows)
        maker.make_range(first, end, rows[first:end])

    told = None
    if progress is not None:
        told = lambda done, _total: progress(min(done * chunk, num_rows), num_rows)  # noqa: E731
    for_each(work, range(0, num_rows, chunk), num_threads=num_threads, progress=told)
    return TensorDataset(maker.spec, rows, Mode.eager)


def _read_store(
    folder: Path,
    layout: RowLayout,
    rows: Tensor,
    num_threads: int,
    progress: Progress | None,
) -> None:
    use = hold(folder)
    try:
        read_rows(folder, layout, rows, num_threads=num_threads, progress=progress)
    finally:
        use.close()
