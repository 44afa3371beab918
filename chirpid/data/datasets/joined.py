"""Several datasets one after another, as one: ids of the second follow those of the first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.buffers import ThreadBuffers
from chirpid.data.datasets.base import BatchDataset, SegmentDataset
from chirpid.data.kept import Stages, add_stages
from chirpid.errors import DataError
from chirpid.types import IntArray


class JoinedDataset(BatchDataset):
    """Delivers rows of several datasets whose rows are of one kind.

    Args:
        parts: in the order of their ids.
        names: what they are called in messages.
    Raises:
        DataError: the rows of one are of another shape or number type than those of the first.
    """

    def __init__(self, parts: Sequence[SegmentDataset], names: Sequence[str]) -> None:
        for part, name in zip(parts, names, strict=True):
            if part.spec != parts[0].spec:
                raise DataError(
                    f"The rows of '{name}' are {part.spec}, those of '{names[0]}' "
                    f"{parts[0].spec}. Write both sets with the same settings."
                )
        sizes = [part.num_segments for part in parts]
        super().__init__(parts[0].spec, sum(sizes))
        self.mode = parts[0].mode
        self.parts, self.names = list(parts), tuple(names)
        self.starts = tuple(itertools.accumulate([0, *sizes[:-1]]))
        self._buffers = ThreadBuffers()

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        stages = Stages()
        ids, batch = self._batch(ids, out)
        part_B = self._part_of(ids)
        numbers = np.unique(part_B).tolist()
        for number in numbers:
            local = ids[part_B == number] - self.starts[number]
            if len(numbers) == 1:
                _, spent = self.parts[number].fetch(local, batch)
            else:
                room = self._buffers.take("part", (len(local), *self.spec.shape))
                rows, spent = self.parts[number].fetch(local, room)
                batch.index_copy_(0, torch.from_numpy(np.flatnonzero(part_B == number)), rows)
            add_stages(stages, spent)
        return batch, stages

    def _part_of(self, ids: IntArray) -> IntArray:
        return np.searchsorted(self.starts, ids, side="right") - 1

    @property
    def looks_ahead(self) -> bool:
        return any(part.looks_ahead for part in self.parts)

    def expect(self, batches: Sequence[IntArray]) -> None:
        """Tell each part which of its rows will be fetched, batch by batch."""
        of_part = [self._part_of(np.asarray(ids)) for ids in batches]
        for number, part in enumerate(self.parts):
            own, first = zip(batches, of_part, strict=True), self.starts[number]
            part.expect([np.asarray(ids)[parts == number] - first for ids, parts in own])

    def reached(self, turn: int) -> None:
        """Tell each part that batch number `turn` of those expected is in use."""
        for part in self.parts:
            part.reached(turn)

    def close(self) -> None:
        for part in self.parts:
            part.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"parts": self.parts, "names": self.names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
