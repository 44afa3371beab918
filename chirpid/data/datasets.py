"""The four modes of keeping segments. `fetch(ids)` is all that a loader needs of any of them."""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from chirpid.data.rows import RowMaker, RowSpec, Stages, widen
from chirpid.errors import BudgetError
from chirpid.storage.caches import hold
from chirpid.storage.locks import FileLock
from chirpid.storage.parallel import Progress, for_each
from chirpid.storage.rowstore import RowLayout, open_rows
from chirpid.storage.shards import read_shard
from chirpid.types import IntArray, Mode


def as_ids(ids: IntArray) -> IntArray:
    """Return ids as torch can take them: int64, contiguous, writeable; a copy only if needed."""
    return np.require(ids, dtype=np.int64, requirements=["C", "W"])


class SegmentDataset(Protocol):
    """Delivers batches of segments by id."""

    mode: Mode
    spec: RowSpec
    num_segments: int

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        """Return float32 [B, *spec.shape] of the ids in their order, and seconds per stage.

        Args:
            out: filled and returned if given; else a new tensor is.
        """
        ...

    def close(self) -> None:
        """Release files and memory."""
        ...


class _Base:
    """What all modes share: the ways in that a plain torch DataLoader uses."""

    mode: Mode

    def __init__(self, spec: RowSpec, num_segments: int) -> None:
        self.spec = spec
        self.num_segments = num_segments

    def __len__(self) -> int:
        return self.num_segments

    def __getitem__(self, index: int) -> Tensor:
        if index < 0:
            index += self.num_segments
        return self.fetch(np.array([index]))[0][0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        return list(self.fetch(np.asarray(indices))[0])

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        raise AssertionError("each mode fetches in its own way")

    def _batch(self, ids: IntArray, out: Tensor | None) -> tuple[IntArray, Tensor]:
        """Return checked ids and the tensor to fill.

        Raises:
            IndexError: an id is not that of a segment. Modes that read files would else read
                something, or speak of a file that never was.
        """
        ids = as_ids(ids)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.num_segments:
            raise IndexError(f"ids reach from {ids.min()} to {ids.max()}, segments from 0 to "
                             f"{self.num_segments - 1}")  # fmt: skip
        if out is None:
            return ids, torch.empty((len(ids), *self.spec.shape), dtype=torch.float32)
        assert len(out) >= len(ids), "the buffer is smaller than the batch"
        return ids, out[: len(ids)]

    def close(self) -> None:
        """Release files and memory."""


class LazyDataset(_Base):
    """Keeps nothing: decodes the wanted windows whenever they are wanted."""

    mode = Mode.lazy

    def __init__(self, maker: RowMaker) -> None:
        super().__init__(maker.spec, len(maker.segments))
        self.maker = maker

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        stages = Stages()
        ids, batch = self._batch(ids, out)
        # Through the kept type, so that a lazy batch has the bits of a cached one.
        row = torch.empty(self.spec.shape, dtype=self.spec.torch_dtype)
        for position, index in enumerate(ids.tolist()):
            self.maker.make(index, row, stages)
            widen(row, batch[position])
        stages["num_cache_misses"] = len(ids)
        return batch, stages


class TensorDataset(_Base):
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
            widen(kept, batch)
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


class CachedDataset(TensorDataset):
    """Rows on a memory map of a whole store, kept from eviction while open."""

    def __init__(self, spec: RowSpec, folder: Path, layout: RowLayout) -> None:
        super().__init__(spec, open_rows(folder, layout), Mode.cached)
        self.folder, self.layout = folder, layout
        self._use: FileLock | None = hold(folder)

    def close(self) -> None:
        self.rows = self.rows.new_empty((0, *self.spec.shape))
        if self._use:
            self._use.close()
            self._use = None

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file itself: a pickled map would be a copy of all of it.
        return {"spec": self.spec, "folder": self.folder, "layout": self.layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class StreamingDataset(_Base):
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
            batch[torch.from_numpy(positions)] = widen(kept, widened)
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
    maker: RowMaker, *, share: bool, num_threads: int, progress: Progress | None = None
) -> TensorDataset:
    """Return all rows in RAM.

    Args:
        share: in shared memory, for worker processes that are not forked.
    """
    num_rows, chunk = len(maker.segments), 16
    if share:
        check_shared_memory(num_rows * maker.spec.row_bytes)
    rows = torch.empty((num_rows, *maker.spec.shape), dtype=maker.spec.torch_dtype)
    if share:
        rows.share_memory_()  # type: ignore[no-untyped-call]

    def work(first: int) -> None:
        end = min(first + chunk, num_rows)
        maker.make_range(first, end, rows[first:end])

    told = None
    if progress is not None:
        told = lambda done, _total: progress(min(done * chunk, num_rows), num_rows)  # noqa: E731
    for_each(work, range(0, num_rows, chunk), num_threads=num_threads, progress=told)
    return TensorDataset(maker.spec, rows, Mode.eager)
