"""Segments in shards that are read in turn."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.datasets.base import BatchDataset
from chirpid.data.kept import RowSpec, Stages
from chirpid.storage.caches import hold
from chirpid.storage.locks import FileLock
from chirpid.storage.rowstore import RowLayout
from chirpid.storage.shards import read_shard
from chirpid.types import IntArray, Mode


class StreamingDataset(BatchDataset):
    """Reads whole shards in turn and keeps the few that the shuffle window spans.

    Memory is bounded by `kept_shards` whatever the size of the set.
    """

    mode = Mode.streaming

    def __init__(self, spec: RowSpec, folder: Path, layout: RowLayout, kept_shards: int) -> None:
        super().__init__(spec, layout.num_rows)
        self.folder, self.layout, self.kept_shards = folder, layout, max(1, kept_shards)
        self._use: FileLock | None = hold(folder)
        self._shards: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = threading.Lock()
        self.shards_read = 0

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        stages = Stages()
        ids, batch = self._batch(ids, out)
        shards = ids // self.layout.chunk_rows
        for shard in np.unique(shards).tolist():
            positions = np.flatnonzero(shards == shard)
            rows = self._shard(shard, len(positions), stages)
            begin = time.perf_counter()
            within = ids[positions] - shard * self.layout.chunk_rows
            kept = rows[torch.from_numpy(within)]
            widened = torch.empty(kept.shape, dtype=torch.float32)
            batch[torch.from_numpy(positions)] = self.spec.widen(kept, widened)
            stages["gather"] = stages.get("gather", 0.0) + time.perf_counter() - begin
        return batch, stages

    def _shard(self, shard: int, num_rows: int, stages: Stages) -> Tensor:
        """Return the rows of a shard, read if it is not kept; `num_rows` of them are wanted."""
        begin = time.perf_counter()
        with self._lock:
            found = "num_cache_hits" if shard in self._shards else "num_cache_misses"
            stages[found] = stages.get(found, 0) + num_rows
            if shard not in self._shards:
                while len(self._shards) >= self.kept_shards:
                    self._shards.popitem(last=False)
                self._shards[shard] = read_shard(self.folder, self.layout, shard)
                self.shards_read += 1
            self._shards.move_to_end(shard)
            rows = self._shards[shard]
        stages["read"] = stages.get("read", 0.0) + time.perf_counter() - begin
        return rows

    def close(self) -> None:
        self._shards.clear()
        if self._use:
            self._use.close()
            self._use = None

    def __getstate__(self) -> dict[str, Any]:
        return {
            "spec": self.spec,
            "folder": self.folder,
            "layout": self.layout,
            "kept_shards": self.kept_shards,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
