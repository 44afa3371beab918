"""Segments that are decoded whenever they are wanted."""

from __future__ import annotations

import torch
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
        # Through the kept type, so that a lazy batch has the bits of a cached one.
        row = torch.empty(self.spec.shape, dtype=self.spec.torch_dtype)
        for position, index in enumerate(ids.tolist()):
            self.maker.make(index, row, stages)
            self.spec.widen(row, batch[position])
        stages["num_cache_misses"] = len(ids)
        return batch, stages
