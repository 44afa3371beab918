"""The whole set on the device; a batch is a gather there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from chirpid.data.datasets import TensorDataset, as_ids
from chirpid.types import Batch, IntArray


class DeviceBackend:
    """Rows as kept, on `device`; batches are made there and need no transfer."""

    def __init__(self, dataset: TensorDataset, device: torch.device) -> None:
        self.device = device
        self._spec = dataset.spec
        self._rows = dataset.rows.to(device)

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        for ids in map(as_ids, batches):
            begin = time.perf_counter()
            index = torch.from_numpy(ids).to(self.device, non_blocking=True)
            kept = self._rows.index_select(0, index)
            out = torch.empty(kept.shape, dtype=torch.float32, device=self.device)
            inputs = self._spec.widen(kept, out)
            yield Batch(ids=ids, inputs=inputs, stages={"gather": time.perf_counter() - begin})

    def close(self) -> None:
        """Release the rows."""
        self._rows = self._rows.new_empty(0)
