"""Which segment comes when: pure functions of seed, epoch and order policy."""

from __future__ import annotations

import numpy as np

from chirpid.seeds import U64, mix64
from chirpid.types import IntArray, Order

_ORDER, _BLOCKS = 1, 2  # streams of random numbers


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
    rank = mix64(seed, epoch, _ORDER, key_N[ids])
    if order is Order.shuffled or window_segments >= len(key_N):
        return ids[np.lexsort((ids, rank))]
    # Windows are cut from the sequence of all blocks, not of the training part, so that a window
    # spans the same few shards whatever the fold.
    num_blocks = -(-len(key_N) // block_segments)
    block_rank = mix64(seed, epoch, _BLOCKS, np.arange(num_blocks, dtype=np.uint64))
    place = np.empty(num_blocks, dtype=np.int64)
    place[np.argsort(block_rank, kind="stable")] = np.arange(num_blocks)
    position = place[ids // block_segments] * block_segments + ids % block_segments
    return ids[np.lexsort((ids, rank, position // window_segments))]


def batches_of(ids: IntArray, batch_size: int, *, drop_last: bool = False) -> list[IntArray]:
    """Return `ids` cut into batches; the last may be short, or dropped."""
    batches = [ids[i : i + batch_size] for i in range(0, len(ids), batch_size)]
    if drop_last and batches and len(batches[-1]) < batch_size:
        batches.pop()
    return batches
