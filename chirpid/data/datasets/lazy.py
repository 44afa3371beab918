"""Segments that are decoded whenever they are wanted."""

from __future__ import annotations

from torch import Tensor

from chirpid.data.datasets.base import BatchDataset
from chirpid.data.kept import Stages
from chirpid.data.rows import RowMaker
from chirpid.types import IntArray, Mode


class LazyDataset(BatchDataset):
    """Keeps nothing: decodes the wanted windows whenever they are wanted."""

    mode = Mode.lazy

    def __init__(self, maker: RowMaker) -> None:
        super().__init__(maker.spec, len(maker.segments))
        self.maker = maker

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        stages = Stages()
        ids, batch = self._batch(ids, out)
        self.maker.make_batch(ids.tolist(), batch, stages)
        stages["num_cache_misses"] = len(ids)
        return batch, stages
