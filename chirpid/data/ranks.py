"""Which rank trains on what: the order of an epoch, dealt out to several processes.

Every rank computes the shares of all and takes its own, so nothing is sent between them. A share
knows nothing of workers: it is cut into batches first, and whoever fetches them gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chirpid.data.order import OrderRule, block_positions, shuffle_rank
from chirpid.seeds import U64
from chirpid.types import IntArray


@dataclass(frozen=True, slots=True)
class Leg:
    """A stretch of an epoch that was trained with another number of ranks."""

    num_ranks: int
    num_done: int
    """Segments that each of these ranks has trained on."""


def train_shares(
    ids: IntArray,
    key_N: U64,
    rule: OrderRule,
    *,
    epoch: int,
    num_ranks: int,
    drop: bool = False,
    legs: Sequence[Leg] = (),
) -> list[IntArray]:
    """Return the ids of each rank in the order it trains on them, all of one length.

    A full shuffle is dealt out in turns, so that a batch of all ranks together is a stretch of the
    order of one rank. A windowed order is cut: each rank reads a run of blocks of its own, with as
    many training segments as the others have, and shuffles in windows of its own. Neighbouring
    ranks share at most the block at the cut. With one rank it is `epoch_order`.

    Args:
        drop: leave out up to `num_ranks` - 1 segments, others in each epoch, where they cannot be
            dealt out evenly; else as many come twice, at two ranks.
        legs: what was done before the number of ranks changed, oldest first. What is left is dealt
            out to the ranks of now: no segment comes again, none is lost.
    """
    left = np.sort(np.asarray(ids, dtype=np.int64))
    for leg in legs:
        shares = _shares(left, key_N, rule, epoch, leg.num_ranks, drop)
        done = [share[: leg.num_done] for share in shares]
        left = np.setdiff1d(left, np.concatenate(done), assume_unique=False)
    return _shares(left, key_N, rule, epoch, num_ranks, drop)


def eval_shares(ids: IntArray, num_ranks: int) -> list[IntArray]:
    """Return the ids of each rank, in order: every id once, so that shares may differ by one."""
    return np.array_split(np.sort(np.asarray(ids, dtype=np.int64)), num_ranks)


def _shares(
    ids: IntArray, key_N: U64, rule: OrderRule, epoch: int, num_ranks: int, drop: bool
) -> list[IntArray]:
    size = len(ids) // num_ranks if drop else -(-len(ids) // num_ranks)
    if not rule.is_windowed(len(key_N)):
        # np.resize starts again from the front where more is wanted than there is.
        sequence = np.resize(rule.epoch(ids, key_N, epoch), size * num_ranks)
        return [sequence[rank::num_ranks] for rank in range(num_ranks)]
    blocks = rule.block_segments
    position = block_positions(ids, len(key_N), seed=rule.seed, epoch=epoch, block_segments=blocks)
    read = np.argsort(position)
    ids, position = ids[read], position[read]
    hashed = shuffle_rank(ids, key_N, seed=rule.seed, epoch=epoch)
    shares = []
    for rank in range(num_ranks):
        first = rank * len(ids) // num_ranks
        part = slice(first, first + size)
        # Windows of the first rank are those of one rank alone; others begin at their first block.
        begin = position[part][:1] // blocks * blocks if rank else 0
        window = (position[part] - begin) // rule.window_segments
        shares.append(ids[part][np.lexsort((ids[part], hashed[part], window))])
    return shares
