"""What all readers of batches share: samples by one and by some, and an order for blocks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from chirpid.data.datasets.base import as_ids
from chirpid.data.general.block_sampler import BlockSampler
from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.trees import Tree
from chirpid.data.order import OrderRule
from chirpid.native.gather import check_within
from chirpid.types import IntArray, Order


class BatchItems:
    """The ways in that a plain torch DataLoader uses, for a dataset that fills whole batches."""

    layout: Layout
    block_rows: int
    """Samples that lie together, and are read in one go."""
    window_rows: int
    """Samples of the blocks among which the order shuffles."""

    def __len__(self) -> int:
        raise AssertionError("each dataset has a length of its own")

    def read_into(self, ids: IntArray, out: Columns) -> None:
        raise AssertionError("each dataset reads in its own way")

    def __getitem__(self, index: Any) -> Tree:
        """Return a sample, or a part as columns in the structure of a sample, for a slice."""
        if isinstance(index, slice):
            return self._columns(np.arange(*index.indices(len(self)))).tree()
        row = operator.index(index)
        if not -len(self) <= row < len(self):
            raise IndexError(f"id {row} is not among the {len(self)} samples")
        batch = self._columns(np.array([row % len(self)]))
        return self.layout.skeleton.rebuild([tensor[0] for tensor in batch.tensors])

    def __getitems__(self, indices: Sequence[int]) -> list[Tree]:
        """Return samples, read at once."""
        ids = np.asarray(indices, dtype=np.int64)
        batch = self._columns(np.where(ids < 0, ids + len(self), ids))
        rows = zip(*(tensor.unbind(0) for tensor in batch.tensors), strict=True)
        return [self.layout.skeleton.rebuild(leaves) for leaves in rows]

    def _columns(self, ids: IntArray) -> Columns:
        batch = self.layout.empty(len(ids))
        self.read_into(as_ids(ids), batch)
        return batch

    def _checked(self, ids: IntArray) -> IntArray:
        """Return ids as they are worked with.

        Raises:
            IndexError: one is not that of a sample.
        """
        ids = as_ids(ids)
        check_within(ids, len(self), "id", "samples")
        return ids

    def order_rule(self, seed: int = 0) -> OrderRule:
        """Return the order that reads each block once in an epoch: a shuffle within windows.

        A window is half as many blocks as are kept. One that covers the dataset is a full shuffle.
        """
        return OrderRule(
            order=Order.windowed,
            seed=seed,
            block_segments=self.block_rows,
            window_segments=self.window_rows,
        )

    def sampler(self, batch_size: int, *, seed: int = 0, drop_last: bool = False) -> BlockSampler:
        """Return the batches of that order, for a loader."""
        return BlockSampler(len(self), batch_size, self.order_rule(seed), drop_last)


def window_of(block_rows: int, block_bytes: int, num_bytes: int) -> int:
    """Return the rows of a window, of which two fit into so many bytes; one block at the least.

    Two, since threads that are ahead begin with the next window while others end the last.
    """
    return max(1, num_bytes // 2 // max(1, block_bytes)) * block_rows
