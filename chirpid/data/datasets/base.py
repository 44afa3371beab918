"""What all modes share: `fetch(ids)` is all that a loader needs of any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from chirpid.data.kept import RowSpec, Stages
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


class BatchDataset:
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
