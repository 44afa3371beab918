"""What all modes share: `fetch(ids)` is all that a loader needs of any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from chirpid.data.kept import RowSpec, Stages
from chirpid.native.gather import check_within
from chirpid.types import IntArray, Mode

INT64 = np.dtype(np.int64)


def as_ids(ids: IntArray) -> IntArray:
    """Return ids as torch can take them: int64, contiguous, writeable; a copy only if needed."""
    if type(ids) is np.ndarray and ids.dtype == INT64 and ids.flags.carray:
        return ids  # np.require comes to the same and takes longer than the rest of a small batch
    return np.require(ids, dtype=np.int64, requirements=["C", "W"])


class RowKind(Protocol):
    """What the rows of a batch are, for who keeps memory for them."""

    @property
    def in_parts(self) -> bool:
        """Whether several workers may make parts of one batch."""
        ...

    @property
    def batch_row_bytes(self) -> int:
        """Bytes of a row in a batch."""
        ...

    def empty(self, num_rows: int, *, pin_memory: bool = False) -> Any:
        """Return memory for a batch."""
        ...

    def slot_bytes(self, num_rows: int) -> int:
        """Return the bytes that `over` needs for a batch."""
        ...

    def over(self, buffer: Any, offset: int, num_rows: int) -> Any:
        """Return a batch that lies in `buffer`, a writeable map, from byte `offset` on."""
        ...


class BatchSource(Protocol):
    """Delivers batches by ids: all that loaders need of anything. Of rows they know the length."""

    mode: Mode

    @property
    def spec(self) -> RowKind: ...

    @property
    def num_segments(self) -> int: ...

    @property
    def looks_ahead(self) -> bool: ...

    def expect(self, batches: Sequence[IntArray]) -> None: ...

    def reached(self, turn: int) -> None: ...

    def fetch(self, ids: IntArray, out: Any = None) -> tuple[Any, Stages]: ...

    def close(self) -> None: ...


class SegmentDataset(Protocol):
    """Delivers batches of segments by id."""

    mode: Mode
    spec: RowSpec
    num_segments: int

    @property
    def looks_ahead(self) -> bool:
        """Whether it should be told what will be fetched; asked as a pass begins."""
        ...

    def expect(self, batches: Sequence[IntArray]) -> None:
        """Take the batches of the pass that has begun, so that they can be brought in time."""

    def reached(self, turn: int) -> None:
        """Take note that batch number `turn` of those expected is in use."""

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

    @property
    def looks_ahead(self) -> bool:
        """Whether it should be told what will be fetched; asked as a pass begins."""
        return False

    def expect(self, batches: Sequence[IntArray]) -> None:
        """Take the batches of the pass that has begun; nothing is brought in advance here."""

    def reached(self, turn: int) -> None:
        """Take note that batch number `turn` of those expected is in use."""

    def _batch(self, ids: IntArray, out: Tensor | None) -> tuple[IntArray, Tensor]:
        """Return checked ids and the tensor to fill.

        Raises:
            IndexError: an id is not that of a segment. Modes that read files would else read
                something, or speak of a file that never was.
        """
        ids = as_ids(ids)
        check_within(ids, self.num_segments, "id", "segments")
        return ids, self._to_fill(len(ids), out)

    def _to_fill(self, size: int, out: Tensor | None) -> Tensor:
        """Return the part of `out` that a batch fills, or a new tensor."""
        if out is None:
            return torch.empty((size, *self.spec.shape), dtype=torch.float32)
        if len(out) == size:
            return out
        assert len(out) > size, "the buffer is smaller than the batch"
        return out[:size]

    def close(self) -> None:
        """Release files and memory."""
