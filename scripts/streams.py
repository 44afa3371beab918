"""The streams that compare_streams.py compares, ours among them, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.bench import peers_disk
from chirpid.data.datasets import StreamingDataset
from chirpid.data.kept import RowSpec
from chirpid.data.order import OrderRule, batches_of
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.seeds import mix64
from chirpid.storage.rowstore import RowLayout
from chirpid.storage.shards import write_shards
from chirpid.types import IntArray, Keep, Order, StoreDtype

BATCH, SHAPE, SHARD = 64, (128, 501), 64


def rows_of(count: int) -> Tensor:
    """Return rows whose first value tells their number."""
    rows = torch.randn((count, *SHAPE), generator=torch.Generator().manual_seed(0)).half()
    rows[:, 0, 0], rows[:, 0, 1] = torch.arange(count) // 64, torch.arange(count) % 64
    return rows


def numbers(batch: Tensor) -> list[int]:
    return (batch[:, 0, 0] * 64 + batch[:, 0, 1]).long().tolist()


class Own:
    """Our stream behind the interface of the others: iterated over, with a state.

    Workers are threads, which is what the plan chooses for streams.
    """

    def __init__(self, count: int, folder: Path, batch_size: int, num_workers: int) -> None:
        spec = RowSpec(Keep.spectrogram, StoreDtype.float16, SHAPE)
        window = max(SHARD, count // 4)
        self.rule = OrderRule(Order.windowed, block_segments=SHARD, window_segments=window)
        self.count, self.batch_size, self.done = count, batch_size, 0
        dataset = StreamingDataset(
            spec, folder, RowLayout(count, SHAPE, "float16", SHARD), -(-window // SHARD) + 1
        )
        self.backend = (
            ThreadsBackend(dataset, num_workers=num_workers, prefetch=2)
            if num_workers
            else InlineBackend(dataset)
        )

    def batches(self) -> list[IntArray]:
        keys = mix64(np.arange(self.count, dtype=np.uint64))
        return batches_of(self.rule.epoch(np.arange(self.count), keys, 0), self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self.backend.run(self.batches()[self.done :]):
            self.done += 1
            yield batch.inputs
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.done = state["done"]


def write_own(rows: Tensor, folder: Path) -> None:
    folder.mkdir(parents=True)

    def make(first: int, end: int, kept: Tensor) -> None:
        kept.copy_(rows[first:end])

    write_shards(
        folder, RowLayout(len(rows), SHAPE, "float16", SHARD), make, about={}, num_threads=1
    )


@dataclass(frozen=True)
class Stream:
    name: str
    module: str
    write: Callable[[Tensor, Path], None]
    open: Callable[[Path, int, int], Any]


def streams(count: int) -> dict[str, Stream]:
    found = (
        Stream("ChirpID", "chirpid", write_own, partial(Own, count)),
        Stream("LitData", "litdata", peers_disk.write_litdata, peers_disk.litdata_loader),
        Stream("MosaicML streaming", "streaming", peers_disk.write_mosaic,
               peers_disk.mosaic_loader),
        Stream("WebDataset", "webdataset", peers_disk.write_webdataset,
               peers_disk.webdataset_loader),
    )  # fmt: skip
    return {one.name: one for one in found if find_spec(one.module)}
