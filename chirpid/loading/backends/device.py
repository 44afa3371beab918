"""The whole set on the device; a batch is a gather there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.datasets import BatchSource, TensorDataset, as_ids
from chirpid.data.general.columns import Columns
from chirpid.data.kept import RowSpec
from chirpid.data.wrap.vectorized import VectorizedDataset
from chirpid.types import Batch, IntArray, Span


class DeviceBackend:
    """Rows as kept, on `device`; batches are made there and need no transfer.

    Each batch is a tensor of its own and stays valid. Nothing waits for the device: the ids of a
    pass cross once, and each batch takes its part of them there.
    """

    def __init__(self, dataset: BatchSource, device: torch.device) -> None:
        self.device = device
        columns = columns_of(dataset)
        if columns is not None:
            self._take: Callable[[Tensor], Any] = columns.to(device).rows
        else:
            assert isinstance(dataset, TensorDataset)
            self._take = partial(_widened, dataset.spec, dataset.rows.to(device))
        self._num_rows = dataset.num_segments

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one `Batch` per array of ids, in order.

        Raises:
            IndexError: an id is not that of a sample; on a device that would end all work there.
        """
        whole = [as_ids(ids) for ids in batches]
        first = 0
        index = self._ids_there(whole)
        for ids in whole:
            begin, begin_core = time.perf_counter(), time.thread_time()
            part = index[first : first + len(ids)]
            first += len(ids)
            inputs = self._take(part)
            end, core_s = time.perf_counter(), time.thread_time() - begin_core
            stages = {"gather": end - begin, "num_cache_hits": len(ids)}
            yield Batch(ids, inputs, stages, spans=(Span(-1, begin, end, stages, core_s),))

    def _ids_there(self, batches: list[IntArray]) -> Tensor:
        """Return the ids of all batches, one after the other, on the device."""
        ids = np.concatenate([np.empty(0, np.int64), *batches])
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self._num_rows:
            raise IndexError(f"ids reach from {ids.min()} to {ids.max()}, samples from 0 to "
                             f"{self._num_rows - 1}")  # fmt: skip
        index = torch.from_numpy(ids)
        if self.device.type == "cuda":
            index = index.pin_memory()  # else the copy would wait for the device
        return index.to(self.device, non_blocking=True)

    def close(self) -> None:
        """Release the rows."""
        self._take = _closed


def columns_of(dataset: BatchSource) -> Columns | None:
    """Return all samples of a dataset that holds them as columns in memory."""
    held = getattr(dataset, "dataset", None)
    return held.columns if isinstance(held, VectorizedDataset) else None


def _widened(spec: RowSpec, rows: Tensor, part: Tensor) -> Tensor:
    kept = rows.index_select(0, part)
    return spec.widen(kept, torch.empty(kept.shape, dtype=torch.float32, device=kept.device))


def _closed(part: Tensor) -> Tensor:
    raise AssertionError("the backend is closed")
