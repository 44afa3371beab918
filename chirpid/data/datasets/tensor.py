"""Segments that lie in one tensor."""

from __future__ import annotations

import threading
import time
from typing import Any

import torch
from torch import Tensor

from chirpid.data.datasets.base import BatchDataset
from chirpid.data.kept import RowSpec, Stages
from chirpid.types import IntArray, Mode


class TensorDataset(BatchDataset):
    """Rows in one tensor [N, *shape]: in RAM (eager) or on a memory map (cached)."""

    def __init__(self, spec: RowSpec, rows: Tensor, mode: Mode) -> None:
        super().__init__(spec, len(rows))
        self.mode = mode
        self.rows = rows
        self._local = threading.local()

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        begin = time.perf_counter()
        ids, batch = self._batch(ids, out)
        index = torch.from_numpy(ids)
        if self.rows.dtype == torch.float32:
            torch.index_select(self.rows, 0, index, out=batch)
        else:
            kept = self._gather_buffer(len(ids))
            torch.index_select(self.rows, 0, index, out=kept)
            self.spec.widen(kept, batch)
        return batch, {"gather": time.perf_counter() - begin, "num_cache_hits": len(ids)}

    def _gather_buffer(self, size: int) -> Tensor:
        # Kept per thread: a fresh large tensor costs more in page faults than the copy into it.
        buffer: Tensor | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < size:
            with torch.inference_mode(False):  # it outlives the mode of the caller
                buffer = torch.empty((size, *self.spec.shape), dtype=self.rows.dtype)
            self._local.buffer = buffer
        return buffer[:size]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()
