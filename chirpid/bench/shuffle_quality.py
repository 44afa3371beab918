"""How well a windowed order mixes, beside the full shuffle of the same set.

All figures but two are ratios to what drawing batches at random would give: 1 is a perfect
shuffle. They depend on the order alone, so that no recording is needed to take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from chirpid.data.order import OrderRule
from chirpid.seeds import U64, mix64
from chirpid.types import FloatArray, IntArray, Order

WINDOWS = (0.01, 0.1, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class MadeSet:
    """Segments in the order in which they are stored."""

    label_N: IntArray
    recording_N: IntArray
    key_N: U64


@dataclass(frozen=True, slots=True)
class ShuffleQuality:
    """Figures of an order, means over epochs."""

    window: float
    """The shuffle window, as a share of the set."""
    class_spread: float
    """Squared distance of a batch's classes from those of the set, over its expectation."""
    longest_run: float
    """Most segments of one class in a row; what it is in a shuffle depends on the classes."""
    same_recording: float
    """Pairs of a batch that are of one recording, over their expectation."""
    same_shard: float
    """Pairs of a batch that are of one shard, over their expectation."""
    met_again: float
    """Pairs of a batch that are in one batch in the next epoch too, over their expectation."""
    order_correlation: float
    """Rank correlation of the places in an epoch and the next, its size; 0 in a shuffle."""


def made_set(
    *, num_segments: int = 20_000, num_classes: int = 20, sorted_by_class: bool, seed: int = 0
) -> MadeSet:
    """Return a set of recordings of 1 to 19 segments; class c as 1 / (c + 1).

    Args:
        sorted_by_class: as in folders named by species; else recordings lie in random order.
    """
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, num_classes + 1)
    length_R = generator.integers(1, 20, size=num_segments // 2)
    label_R = generator.choice(num_classes, size=len(length_R), p=weights / weights.sum())
    recording_N = np.repeat(np.arange(len(length_R)), length_R)[:num_segments]
    label_N = label_R[recording_N]
    if sorted_by_class:
        stored = np.argsort(label_N, kind="stable")
        label_N, recording_N = label_N[stored], recording_N[stored]
    keys = mix64(seed, np.arange(num_segments, dtype=np.uint64))
    return MadeSet(label_N, recording_N, keys)


def shuffle_quality(
    made: MadeSet,
    *,
    windows: Sequence[float] = WINDOWS,
    shard_segments: int = 100,
    batch_size: int = 64,
    epochs: int = 10,
) -> list[ShuffleQuality]:
    """Return the figures for each window."""
    found = []
    for window in windows:
        rule = OrderRule(
            Order.windowed,
            block_segments=shard_segments,
            window_segments=max(1, round(window * len(made.key_N))),
        )
        ids = np.arange(len(made.key_N))
        orders = [rule.epoch(ids, made.key_N, epoch) for epoch in range(epochs + 1)]
        figures = [
            _figures(order, after, made, shard_segments, batch_size)
            for order, after in pairwise(orders)
        ]
        found.append(ShuffleQuality(window, *np.mean(figures, axis=0).tolist()))
    return found


def _figures(
    order: IntArray, after: IntArray, made: MadeSet, shard_segments: int, batch_size: int
) -> list[float]:
    label, recording, shard = (
        made.label_N,
        made.recording_N,
        np.arange(len(order)) // shard_segments,
    )
    place, place_after = np.argsort(order), np.argsort(after)
    # Ids of the batch that each segment is in, in the next epoch.
    batch_after = place_after // batch_size
    return [
        _class_spread(label[order], batch_size),
        float(_longest_run(label[order])),
        _pairs(recording[order], batch_size),
        _pairs(shard[order], batch_size),
        _pairs(batch_after[order], batch_size),
        abs(float(np.corrcoef(place, place_after)[0, 1])),
    ]


def _class_spread(label_L: IntArray, batch_size: int) -> float:
    """Source: the variance of the hypergeometric distribution, which counts in a batch have."""
    total, share = len(label_L), np.bincount(label_L) / len(label_L)
    whole = total // batch_size * batch_size
    count_BC = _counts(label_L[:whole].reshape(-1, batch_size), len(share))
    variance = batch_size * share * (1 - share) * (total - batch_size) / (total - 1)
    off: FloatArray = ((count_BC - batch_size * share) ** 2).sum(axis=1)
    return float(off.mean() / variance.sum())


def _counts(values_BK: IntArray, num_values: int) -> IntArray:
    """Return how often each value comes in each row, [B, num_values]."""
    rows = np.arange(len(values_BK))[:, None] * num_values
    flat = np.bincount((rows + values_BK).ravel(), minlength=len(values_BK) * num_values)
    return flat.reshape(len(values_BK), num_values)


def _longest_run(values: IntArray) -> int:
    edges = np.flatnonzero(np.diff(values)) + 1
    return int(np.diff(np.concatenate([[0], edges, [len(values)]])).max())


def _pairs(values: IntArray, batch_size: int) -> float:
    """Return how often two segments of a batch have one value, over how often any two have."""
    total = len(values)
    whole = total // batch_size * batch_size
    batch = np.repeat(np.arange(whole // batch_size), batch_size)
    _, count = np.unique(batch * (values.max() + 1) + values[:whole], return_counts=True)
    _, count_all = np.unique(values, return_counts=True)
    found = (count * (count - 1)).sum() / (whole * (batch_size - 1))
    chance = (count_all * (count_all - 1)).sum() / (total * (total - 1))
    return float(found / chance)


def table_of(rows: Sequence[ShuffleQuality]) -> str:
    """Return the figures as a Markdown table."""
    names = [field.name for field in fields(ShuffleQuality)]
    lines = [f"| {' | '.join(names)} |", "|" + "---:|" * len(names)]
    for row in rows:
        figures = [f"{getattr(row, name):.3g}" for name in names]
        lines.append(f"| {' | '.join(figures)} |")
    return "\n".join(lines)
