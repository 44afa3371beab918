"""Samples of any dataset of fixed shape made once, by threads or worker processes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from chirpid.data.general import generators
from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.fill import fill
from chirpid.data.general.protocols import BatchReader, MapDataset, getitems
from chirpid.data.tensors.packing import Packing, packed
from chirpid.errors import ConfigError, DataError


class SampleMaker(AbstractContextManager["SampleMaker"]):
    """Fills columns with samples of a dataset.

    Args:
        num_workers: threads that ask at once, where the dataset is `thread_safe`; else worker
            processes, of which 0 or 1 is none. By default as many threads as torch has, and no
            processes, which a program without `if __name__ == "__main__"` could not start.

    Raises:
        ConfigError: less than 0.
    """

    def __init__(
        self, dataset: MapDataset, layout: Layout, *, num_workers: int | None = None
    ) -> None:
        if num_workers is not None and num_workers < 0:
            raise ConfigError(f"num_workers={num_workers} is below 0. Use 0 for no workers.")
        self.dataset, self.layout = dataset, layout
        safe = bool(getattr(dataset, "thread_safe", False))
        if num_workers is None:
            num_workers = torch.get_num_threads() if safe else 1
        self.num_threads = max(1, num_workers)
        """Threads that may call `fill` at once."""
        self._pool: ProcessPoolExecutor | None = None
        if not safe and num_workers > 1:
            self._packing = Packing(layout)
            self._pool = ProcessPoolExecutor(
                num_workers, multiprocessing.get_context(), _begin, (dataset, layout)
            )

    def __enter__(self) -> Self:
        # All processes begin here: a fork is not safe any more once threads are at work.
        if self._pool is not None:
            for done in [self._pool.submit(_nothing) for _ in range(self.num_threads)]:
                self._result(done.result, 0, 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def fill(self, first: int, end: int, out: Columns) -> None:
        """Write the samples first..end-1 into contiguous columns of their number.

        Raises:
            DataError: a sample is not like the others, or a worker process died.
        """
        if self._pool is None:
            make(self.dataset, self.layout, first, end, out)
            return
        rows = self._result(self._pool.submit(_make, first, end).result, first, end)
        self._packing.unpack(torch.from_numpy(rows), out)

    def _result(self, wait: Any, first: int, end: int) -> Any:
        try:
            return wait()
        except BrokenProcessPool as error:
            raise DataError(
                f"A worker process died while it made samples {first} to {end - 1}. If memory ran "
                "out, use fewer num_workers; a program that starts workers needs "
                'if __name__ == "__main__".'
            ) from error


def make(dataset: MapDataset, layout: Layout, first: int, end: int, out: Columns) -> None:
    """Write the samples first..end-1 of a dataset into columns."""
    try:
        if isinstance(dataset, BatchReader):
            dataset.read_into(np.arange(first, end), out)
        else:
            fill(getitems(dataset, range(first, end)), layout, out, range(first, end))
    except Exception as error:
        error.add_note(f"while the samples {first} to {end - 1} were made, to be kept")
        raise


_of_worker: tuple[MapDataset, Layout] | None = None


def _begin(dataset: MapDataset, layout: Layout) -> None:
    global _of_worker
    torch.set_num_threads(1)
    _of_worker = dataset, layout


def _nothing() -> None:
    """Have a worker process begin."""


def _make(first: int, end: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return samples as rows of bytes, in a worker process."""
    assert _of_worker is not None
    # Forked workers would else all draw the same numbers, where a dataset draws any.
    generators.seed_for(first)
    dataset, layout = _of_worker
    out = layout.empty(end - first)
    make(dataset, layout, first, end, out)
    return packed(layout, out)
