"""Segments in shards, of which only the few of the shuffle window are in use at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from chirpid.data.datasets.base import BatchDataset
from chirpid.data.gather import Gather
from chirpid.data.kept import RowSpec, Stages
from chirpid.storage.layout import RowLayout
from chirpid.storage.shard_window import LocalShards, ShardFiles, ShardWindow
from chirpid.storage.shards import ShardMap
from chirpid.types import IntArray, Mode


def reader_of(spec: RowSpec, opened: ShardMap) -> Gather:
    """Return what takes rows from a map, made once for each."""
    if opened.reader is None:
        opened.reader = Gather(spec, opened.rows)
    reader: Gather = opened.reader
    return reader


class StreamingDataset(BatchDataset):
    """Maps the shards that the shuffle window spans, and brings the next ones in the background.

    Memory is bounded by `kept_shards` whatever the size of the set, and worker processes share it.

    Args:
        shards: where the shards are: a cache folder, or the files of a set.
        kept_shards: shards that are mapped at most.
        ahead_shards: shards that are brought before they are wanted; None is `kept_shards`.
    """

    mode = Mode.streaming

    def __init__(
        self,
        spec: RowSpec,
        shards: Path | ShardFiles,
        layout: RowLayout,
        kept_shards: int,
        ahead_shards: int | None = None,
    ) -> None:
        super().__init__(spec, layout.num_rows)
        self.layout, self.kept_shards = layout, max(1, kept_shards)
        self.ahead_shards = self.kept_shards if ahead_shards is None else ahead_shards
        files = LocalShards(shards, layout, held=True) if isinstance(shards, Path) else shards
        self.window = ShardWindow(files, kept=self.kept_shards, ahead=self.ahead_shards)

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        begin = time.perf_counter()
        ids, batch = self._batch(ids, out)
        shards, rows = np.divmod(ids, self.layout.chunk_rows)
        maps, opened = self.window.take(list(dict.fromkeys(shards.tolist())))
        places = {shard: np.flatnonzero(shards == shard) for shard in maps}
        for shard, where in places.items():
            maps[shard] = self.window.check(shard, maps[shard], rows[where])
        num_misses = sum(len(places[shard]) for shard in opened)
        read = time.perf_counter()
        for shard, where in places.items():
            reader_of(self.spec, maps[shard]).into(rows[where], batch, places=where)
        return batch, {
            "read": read - begin,
            "gather": time.perf_counter() - read,
            "num_cache_hits": len(ids) - num_misses,
            "num_cache_misses": num_misses,
        }

    @property
    def looks_ahead(self) -> bool:
        return True

    def expect(self, batches: Sequence[IntArray]) -> None:
        """Take the batches that will be fetched, so that their shards are here in time."""
        self.window.expect(batches)

    def reached(self, turn: int) -> None:
        """Take note that batch number `turn` of those expected is in use."""
        self.window.reached(turn)

    def close(self) -> None:
        self.window.close()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "spec": self.spec,
            "shards": self.window.files,
            "layout": self.layout,
            "kept_shards": self.kept_shards,
            "ahead_shards": self.ahead_shards,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
