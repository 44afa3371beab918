"""Segments that lie in one tensor."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

from chirpid.data.datasets.base import BatchDataset, as_ids
from chirpid.data.gather import Gather
from chirpid.data.kept import RowSpec, Stages
from chirpid.types import IntArray, Mode


class TensorDataset(BatchDataset):
    """Rows in one tensor [N, *shape]: in RAM (eager) or on a memory map (cached)."""

    is_kept = True

    def __init__(self, spec: RowSpec, rows: Tensor, mode: Mode) -> None:
        super().__init__(spec, len(rows))
        self.mode = mode
        self.rows = rows
        self._gather: Gather | None = None

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        begin = time.perf_counter()
        ids = as_ids(ids)
        batch = self._to_fill(len(ids), out)
        gather = self._gather
        if gather is None or gather.rows is not self.rows:
            gather = self._gather = Gather(self.spec, self.rows)
        gather.into(ids, batch)
        return batch, {"gather": time.perf_counter() - begin, "num_cache_hits": len(ids)}

    def close(self) -> None:
        self.rows = self.rows.new_empty((0, *self.spec.shape))
        self._gather = None

    def __getstate__(self) -> dict[str, Any]:
        # The address of the rows is another one in another process.
        return {**self.__dict__, "_gather": None}
