"""One sampler of each kind over a hundred items, for what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chirpid.data.samplers import (
    BucketSampler,
    BudgetSampler,
    ClassBalancedSampler,
    DistributedSampler,
    MPerClassSampler,
    Sampler,
    SequentialSampler,
    ShuffledSampler,
    WeightedSampler,
)

NUM_ITEMS = 100
LENGTHS = 1 + np.arange(NUM_ITEMS) * 37 % 61
LABELS = np.minimum(np.arange(NUM_ITEMS) % 13, 6)
WEIGHTS = np.arange(NUM_ITEMS) % 5

KINDS: dict[str, Callable[[int], Sampler]] = {
    "sequential": lambda seed: SequentialSampler(NUM_ITEMS, 7),
    "shuffled": lambda seed: ShuffledSampler(NUM_ITEMS, 7, seed=seed),
    "weighted": lambda seed: WeightedSampler(WEIGHTS, 7, seed=seed),
    "without": lambda seed: WeightedSampler(WEIGHTS, 7, replacement=False, seed=seed),
    "balanced": lambda seed: ClassBalancedSampler(LABELS, 7, seed=seed),
    "per class": lambda seed: MPerClassSampler(LABELS, 3, 2, seed=seed),
    "bucket": lambda seed: BucketSampler(LENGTHS, 7, window_batches=4, seed=seed),
    "budget": lambda seed: BudgetSampler(LENGTHS, 200, window_items=30, seed=seed),
    "ranks": lambda seed: DistributedSampler(ShuffledSampler(NUM_ITEMS, 7, seed=seed), 1, 3),
    "bucket ranks": lambda seed: DistributedSampler(
        BucketSampler(LENGTHS, 7, window_batches=4, seed=seed), 1, 3
    ),
}
"""By name, a sampler of a seed."""


def same(one: Sampler, other: Sampler, epoch: int, other_epoch: int | None = None) -> bool:
    """Return whether two samplers have the same batches in an epoch."""
    first, second = one.batches(epoch), other.batches(epoch if other_epoch is None else other_epoch)
    return len(first) == len(second) and all(map(np.array_equal, first, second))
