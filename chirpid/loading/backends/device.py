"""The whole set on the device; a batch is a gather there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from chirpid.data.datasets import TensorDataset, as_ids
from chirpid.types import Batch, IntArray, Span


class DeviceBackend:
    """Rows as kept, on `device`; batches are made there and need no transfer.

    Each batch is a tensor of its own and stays valid. Nothing waits for the device: the ids of a
    pass cross once, and each batch takes its part of them there.
    """

    def __init__(self, dataset: TensorDataset, device: torch.device) -> None:
        self.device = device
        self._spec = dataset.spec
        self._rows = dataset.rows.to(device)

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one `Batch` per array of ids, in order.

        Raises:
            IndexError: an id is not that of a segment; on a device that would end all work there.
        """
        whole = [as_ids(ids) for ids in batches]
        first = 0
        index = self._ids_there(whole)
        for ids in whole:
            begin, begin_core = time.perf_counter(), time.thread_time()
            part = index[first : first + len(ids)]
            first += len(ids)
            kept = self._rows.index_select(0, part)
            out = torch.empty(kept.shape, dtype=torch.float32, device=self.device)
            inputs = self._spec.widen(kept, out)
            end, core_s = time.perf_counter(), time.thread_time() - begin_core
            stages = {"gather": end - begin, "num_cache_hits": len(ids)}
            yield Batch(ids, inputs, stages, spans=(Span(-1, begin, end, stages, core_s),))

    def _ids_there(self, batches: list[IntArray]) -> Tensor:
        """Return the ids of all batches, one after the other, on the device."""
        ids = np.concatenate([np.empty(0, np.int64), *batches])
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(self._rows):
            raise IndexError(f"ids reach from {ids.min()} to {ids.max()}, segments from 0 to "
                             f"{len(self._rows) - 1}")  # fmt: skip
        index = torch.from_numpy(ids)
        if self.device.type == "cuda":
            index = index.pin_memory()  # else the copy would wait for the device
        return index.to(self.device, non_blocking=True)

    def close(self) -> None:
        """Release the rows."""
        self._rows = self._rows.new_empty(0)
