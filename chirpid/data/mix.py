"""Several sets in one epoch, in wanted proportions: pure functions of seed and epoch.

Whose turn it is comes from one endless sequence, of which an epoch is a stretch. In it, draw `j` of
a set with weight `w` (weights sum to 1) falls at a random time between `j / w` and `(j + 1) / w`.
So a set's share of the first n draws is off by less than one draw plus its share of the errors of
the others, whatever n, where independent draws would be off by about sqrt(n).

Each set is drawn in passes: all of it once, each pass in an order of its own, and the next epoch
goes on where the last one ended. A large set loses nothing to a short epoch, and a small one is
repeated as evenly as can be.

Source: one point in each of equal cells, jittered sampling (Cook, 1986), doi:10.1145/7529.8927.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chirpid.data.order import OrderRule
from chirpid.errors import ConfigError, DataError
from chirpid.seeds import U64, mix64, uniform
from chirpid.types import FloatArray, IntArray

_TURNS, _REPEATS = 3, 4  # streams of random numbers, beside those of the order


@dataclass(frozen=True, slots=True)
class Mix:
    """Sets that are ranges of ids, and how often each is drawn.

    Raises:
        ConfigError: a weight is not a number above 0, or there is not one for each set.
    """

    names: tuple[str, ...]
    starts: tuple[int, ...]
    """The first id of each set: 0, then ascending."""
    weights: tuple[float, ...]
    """Share of the draws, up to a common factor."""
    epoch_segments: int | None = None
    """Draws of an epoch; None: as many as the training parts have segments together."""

    def __post_init__(self) -> None:
        assert self.starts[:1] == (0,), "the first set begins at id 0"
        assert len(self.names) == len(self.starts) == len(self.weights)
        for name, weight in zip(self.names, self.weights, strict=True):
            if not (weight > 0 and math.isfinite(weight)):
                raise ConfigError(f"The weight of '{name}' is {weight}. Use a number above 0.")
        if self.epoch_segments is not None and self.epoch_segments < 1:
            raise ConfigError(f"An epoch of {self.epoch_segments} segments is none. Use 1 or more.")

    @property
    def shares(self) -> FloatArray:
        """Weights that sum to 1, float64 [S]."""
        weights = np.array(self.weights, dtype=np.float64)
        return np.asarray(weights / weights.sum())

    def parts(self, ids: IntArray, num_segments: int) -> list[IntArray]:
        """Return the ids of each set, of a training part in ascending order.

        Raises:
            DataError: a set has no segment in the training part.
        """
        bounds = np.searchsorted(ids, [*self.starts[1:], num_segments])
        parts = np.split(ids, bounds)[: len(self.starts)]
        for name, part in zip(self.names, parts, strict=True):
            if not len(part):
                raise DataError(
                    f"The set '{name}' has no segment to train on here. Take it out of the mix, "
                    "or use fewer folds."
                )
        return parts

    def windows(self, rule: OrderRule) -> list[int]:
        """Return the shuffle window of each set: its share of the whole, at least one block."""
        return [
            max(rule.block_segments, round(share * rule.window_segments)) for share in self.shares
        ]


@dataclass(frozen=True, slots=True)
class MixedEpoch:
    """What is drawn in an epoch, in order."""

    ids: IntArray
    """int64 [n]."""
    repeats: IntArray
    """int64 [n]: how many passes through its set the epoch had behind it. The same segment has
    another number each time it comes in an epoch."""


def mixed_epoch(ids: IntArray, key_N: U64, mix: Mix, rule: OrderRule, *, epoch: int) -> MixedEpoch:
    """Return the draws of an epoch.

    Args:
        ids: the segments of the training part, of all sets, each once.
        key_N: key of every segment of the table.
    Raises:
        DataError: a set has no segment in the training part.
    """
    ids = np.sort(np.asarray(ids, dtype=np.int64))
    parts = mix.parts(ids, len(key_N))
    num_draws = mix.epoch_segments or len(ids)
    set_L, draw_L = turns(mix.shares, num_draws, seed=rule.seed, epoch=epoch)
    found = np.empty(num_draws, dtype=np.int64)
    repeats = np.empty(num_draws, dtype=np.int64)
    windows = mix.windows(rule)
    for number, part in enumerate(parts):
        own = replace(rule, window_segments=windows[number])
        mine = set_L == number
        if mine.any():
            end = mix.starts[number + 1] if number + 1 < len(parts) else len(key_N)
            drawn = slice(int(draw_L[mine][0]), int(draw_L[mine][-1]) + 1)
            first = mix.starts[number]
            local = _passes(part - first, key_N[first:end], own, drawn)
            found[mine] = local + first
            repeats[mine] = draw_L[mine] // len(part) - drawn.start // len(part)
    return MixedEpoch(found, repeats)


def _passes(ids: IntArray, key_N: U64, rule: OrderRule, drawn: slice) -> IntArray:
    """Return the draws numbered `drawn` of a set: pass after pass through it."""
    size = len(ids)
    passes = range(drawn.start // size, (drawn.stop - 1) // size + 1)
    orders = [rule.epoch(ids, key_N, number) for number in passes]
    offset = passes.start * size
    return np.concatenate(orders)[drawn.start - offset : drawn.stop - offset]


def turns(
    share_S: FloatArray, num_draws: int, *, seed: int, epoch: int
) -> tuple[IntArray, IntArray]:
    """Return whose turn each draw of an epoch is, and the how manieth draw of that set, [n] each.

    Draws of a set are counted from the first epoch on, and are consecutive.
    """
    first = epoch * num_draws
    # At time T the number of draws is within the number of sets of T.
    slack = len(share_S) + 1
    begin, end = max(0, first - slack), first + num_draws + slack
    before, sets, draws, times = 0, [], [], []
    for number, share in enumerate(share_S):
        draw = np.arange(max(0, math.floor(share * begin) - 1), math.ceil(share * end) + 1)
        jitter = uniform(seed, _TURNS, number, draw.astype(np.uint64))
        time = (draw + jitter) / share
        late = time >= begin
        before += int(draw[0]) + int(np.count_nonzero(~late))
        sets.append(np.full(int(late.sum()), number))
        draws.append(draw[late])
        times.append(time[late])
    set_M, draw_M, time_M = np.concatenate(sets), np.concatenate(draws), np.concatenate(times)
    chosen = np.lexsort((draw_M, set_M, time_M))[first - before :][:num_draws]
    return set_M[chosen], draw_M[chosen]


def draw_keys(key_B: U64, repeat_B: IntArray) -> U64:
    """Return the keys that augmentation is drawn with: another for each repeat, its own for 0."""
    repeated = mix64(_REPEATS, repeat_B.astype(np.uint64), key_B)
    return np.asarray(np.where(repeat_B > 0, repeated, key_B), dtype=np.uint64)


def one_pass_segments(sizes: Sequence[int], weights: Sequence[float]) -> int:
    """Return how long an epoch must be for every set to come whole: `epoch_segments` for that."""
    total = math.fsum(weights)
    return max(math.ceil(n * total / w) for n, w in zip(sizes, weights, strict=True))
