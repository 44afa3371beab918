"""Which segment comes when: pure functions of seed, epoch and order policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chirpid.seeds import U64, mix64
from chirpid.types import IntArray, Order

_ORDER, _BLOCKS = 1, 2  # streams of random numbers


@dataclass(frozen=True, slots=True)
class OrderRule:
    """What the order of all epochs depends on, apart from the segments."""

    order: Order = Order.shuffled
    seed: int = 0
    block_segments: int = 512
    window_segments: int = 16384

    def epoch(self, ids: IntArray, key_N: U64, epoch: int) -> IntArray:
        """Return `epoch_order` of one epoch."""
        return epoch_order(
            ids,
            key_N,
            order=self.order,
            seed=self.seed,
            epoch=epoch,
            block_segments=self.block_segments,
            window_segments=self.window_segments,
        )

    def is_windowed(self, num_segments: int) -> bool:
        """Return whether segments are shuffled within windows only."""
        whole = (Order.shuffled, Order.sequential)
        return self.order not in whole and self.window_segments < num_segments


def epoch_order(
    ids: IntArray,
    key_N: U64,
    *,
    order: Order,
    seed: int,
    epoch: int,
    block_segments: int,
    window_segments: int,
) -> IntArray:
    """Return the ids of an epoch in the order they are trained on, int64 [n].

    `shuffled` sorts by a hash of (seed, epoch, segment). `windowed` visits blocks of
    `block_segments` neighbouring ids (the shards of a stream) in random order, cuts that sequence
    into windows, and sorts by the same hash within each: a window that covers the set is
    `shuffled` exactly. `auto` is `windowed`.

    Args:
        ids: the segments of the training part, each once.
        key_N: key of every segment of the table.
    """
    ids = np.sort(np.asarray(ids, dtype=np.int64))
    if order is Order.sequential:
        return ids
    rank = shuffle_rank(ids, key_N, seed=seed, epoch=epoch)
    if order is Order.shuffled or window_segments >= len(key_N):
        return ids[sorting(rank)]
    # Windows are cut from the sequence of all blocks, not of the training part, so that a window
    # spans the same few shards whatever the fold.
    position = block_positions(
        ids, len(key_N), seed=seed, epoch=epoch, block_segments=block_segments
    )
    by_rank = sorting(rank)
    window = position[by_rank] // window_segments
    if int(window.max(initial=0)) < 2**16:
        window = window.astype(np.uint16)  # which numpy sorts by counting
    return ids[by_rank[np.argsort(window, kind="stable")]]


def sorting(rank: U64) -> IntArray:
    """Return the places of ranks in ascending order, equal ones as they stand, int64 [n].

    As a stable sort, and several times as fast: an epoch of small batches would notice.
    """
    places: IntArray = np.argsort(rank)
    ascending = rank[places]
    if (ascending[1:] == ascending[:-1]).any():
        return np.argsort(rank, kind="stable")
    return places


def block_positions(
    ids: IntArray, num_segments: int, *, seed: int, epoch: int, block_segments: int
) -> IntArray:
    """Return where each id lies when all blocks are read one after another in random order, [n]."""
    num_blocks = -(-num_segments // block_segments)
    block_rank = mix64(seed, epoch, _BLOCKS, np.arange(num_blocks, dtype=np.uint64))
    place = np.empty(num_blocks, dtype=np.int64)
    place[np.argsort(block_rank, kind="stable")] = np.arange(num_blocks)
    return place[ids // block_segments] * block_segments + ids % block_segments


def shuffle_rank(ids: IntArray, key_N: U64, *, seed: int, epoch: int) -> U64:
    """Return the hash that each id is sorted by in an epoch, [n]."""
    return mix64(seed, epoch, _ORDER, key_N[ids])


def batches_of(ids: IntArray, batch_size: int, *, drop_last: bool = False) -> list[IntArray]:
    """Return `ids` cut into batches; the last may be short, or dropped."""
    batches = [ids[i : i + batch_size] for i in range(0, len(ids), batch_size)]
    if drop_last and batches and len(batches[-1]) < batch_size:
        batches.pop()
    return batches
