"""Sharing out indivisible units so that every fold looks like the whole.

A unit (a recordist, say) goes to one fold with all its recordings. How good a sharing is, is a sum
over folds, so that the gain of moving or exchanging units is found without looking at the others:

    cost of a fold = sum over columns j of  weight_j (share_j - wanted)^2
                     + ABSENT  for each class the fold lacks
                     + WHOLE   for each class the fold has taken all of: nothing left to train on

with one column a class (recordings), one for all recordings and one for all segments. Greedy starts
from several orders, then moves and exchanges until none helps.

Letters: U units, J columns, K folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chirpid.seeds import U64, keys_of, mix64, uniform
from chirpid.types import FloatArray, IntArray

ABSENT = 1.0
WHOLE = 20.0
EMPTY = 1e4
"""Cost of a fold without any recording, or with all of them."""
SEGMENT_WEIGHT = 0.25
"""Weight of the number of segments beside the number of recordings."""
DIGITS = 9
"""Costs are compared rounded: a last bit must not decide, or machines would disagree."""

_MAX_MOVES_WORK = 4_000_000
_MAX_SWAPS_WORK = 300_000
_MAX_STARTS = 128
_STARTS_WORK = 1_200_000
_STEPS_WORK = 40_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """What each fold should get: its share of everything, and whether its gaps matter."""

    shares_K: FloatArray
    scored_K: FloatArray
    """1 for folds that are validated; 0 for the rest that a hold-out leaves for training."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Units as shares of the column totals, with what each column weighs and costs."""

    share_UJ: FloatArray
    weight_J: FloatArray
    absent_J: FloatArray
    whole_J: FloatArray


def even_folds(num_folds: int) -> Target:
    """Return the target of k-fold cross-validation."""
    return Target(np.full(num_folds, 1.0 / num_folds), np.ones(num_folds))


def one_holdout(fraction: float) -> Target:
    """Return the target of one hold-out (fold 0) and the rest (fold 1)."""
    return Target(np.array([fraction, 1.0 - fraction]), np.array([1.0, 0.0]))


def share_out(counts_UC: IntArray, segments_U: IntArray, key_U: U64, target: Target) -> IntArray:
    """Return the fold of each unit, int64 [U].

    The result depends on the units and their keys, not on the order they are given in.

    Args:
        counts_UC: recordings of each class in each unit.
        segments_U: segments of each unit.
        key_U: a random but fixed number for each unit; decides between equals.
    """
    order = np.argsort(key_U, kind="stable")
    columns = _columns(counts_UC[order], segments_U[order])
    fold_U = np.empty(len(order), dtype=np.int64)
    fold_U[order] = _search(columns, key_U[order], target)
    return fold_U


def _columns(counts_UC: IntArray, segments_U: IntArray) -> Columns:
    counts_UC = counts_UC[:, counts_UC.sum(axis=0) > 0]
    num_classes = counts_UC.shape[1]
    table = np.column_stack([counts_UC, counts_UC.sum(axis=1), segments_U]).astype(np.float64)
    tail = np.array([num_classes, SEGMENT_WEIGHT * num_classes], dtype=np.float64)
    return Columns(
        share_UJ=table / np.maximum(table.sum(axis=0), 1.0),
        weight_J=np.concatenate([np.ones(num_classes), tail]),
        absent_J=np.concatenate([np.full(num_classes, ABSENT), [EMPTY, 0.0]]),
        whole_J=np.concatenate([np.full(num_classes, WHOLE), [EMPTY, 0.0]]),
    )


def _search(columns: Columns, key_U: U64, target: Target) -> IntArray:
    num_units, num_columns = columns.share_UJ.shape
    work = num_units * num_units * num_columns
    num_starts = int(np.clip(_STARTS_WORK // max(work, 1), 1, _MAX_STARTS))
    best: tuple[float, IntArray] | None = None
    for start in range(num_starts):
        fold_U = _greedy(columns, _order(columns, key_U, start), target)
        fold_U = _improve(columns, fold_U, target)
        cost = round(_total(columns, fold_U, target), DIGITS)
        if best is None or cost < best[0]:
            best = (cost, fold_U)
    assert best is not None
    return best[1]


def _order(columns: Columns, key_U: U64, start: int) -> IntArray:
    """Return the units, large ones first; later starts shuffle that more and more."""
    size_U = columns.share_UJ @ columns.weight_J
    noise_U = uniform(key_U, start) - 0.5
    spread = 1.6 * start / _MAX_STARTS
    return np.argsort(-np.round(size_U * (1.0 + spread * noise_U), DIGITS), kind="stable")


def _cost(
    columns: Columns, share: FloatArray, wanted: FloatArray, scored: FloatArray
) -> FloatArray:
    """Return the cost of folds that hold `share` [..., J] and want `wanted` [...]."""
    square = (share - wanted[..., None]) ** 2 @ columns.weight_J
    absent = (share < 1e-9).astype(np.float64) @ columns.absent_J
    whole = (share > 1 - 1e-9).astype(np.float64) @ columns.whole_J
    return np.asarray(square + scored * (absent + whole))


def _held(columns: Columns, fold_U: IntArray, num_folds: int) -> FloatArray:
    held_KJ = np.zeros((num_folds, columns.share_UJ.shape[1]))
    np.add.at(held_KJ, fold_U, columns.share_UJ)
    return held_KJ


def _total(columns: Columns, fold_U: IntArray, target: Target) -> float:
    held_KJ = _held(columns, fold_U, len(target.shares_K))
    return float(_cost(columns, held_KJ, target.shares_K, target.scored_K).sum())


def _greedy(columns: Columns, order_U: IntArray, target: Target) -> IntArray:
    """Give each unit, in turn, to the fold whose cost it lowers most."""
    held_KJ = np.zeros((len(target.shares_K), columns.share_UJ.shape[1]))
    cost_K = _cost(columns, held_KJ, target.shares_K, target.scored_K)
    fold_U = np.zeros(len(order_U), dtype=np.int64)
    for unit in order_U:
        with_unit = held_KJ + columns.share_UJ[unit]
        new_K = _cost(columns, with_unit, target.shares_K, target.scored_K)
        fold = int(np.argmin(np.round(new_K - cost_K, DIGITS)))
        fold_U[unit], held_KJ[fold], cost_K[fold] = fold, with_unit[fold], new_K[fold]
    return fold_U


def _improve(columns: Columns, fold_U: IntArray, target: Target) -> IntArray:
    """Move or exchange units as long as that lowers the cost; the best step each time."""
    num_units, num_columns = columns.share_UJ.shape
    if num_units * num_columns * len(target.shares_K) > _MAX_MOVES_WORK:
        return fold_U
    swaps = num_units * num_units * num_columns <= _MAX_SWAPS_WORK
    work = num_units * num_columns * (len(target.shares_K) + (num_units if swaps else 0))
    for _ in range(min(4 * num_units, _STEPS_WORK // work)):
        held_KJ = _held(columns, fold_U, len(target.shares_K))
        if not (
            _move(columns, fold_U, held_KJ, target)
            or (swaps and _swap(columns, fold_U, held_KJ, target))
        ):
            break
    return fold_U


def _move(columns: Columns, fold_U: IntArray, held_KJ: FloatArray, target: Target) -> bool:
    share_UJ, wanted_K, scored_K = columns.share_UJ, target.shares_K, target.scored_K
    cost_K = _cost(columns, held_KJ, wanted_K, scored_K)
    left_U = _cost(columns, held_KJ[fold_U] - share_UJ, wanted_K[fold_U], scored_K[fold_U])
    gain_UK = np.empty((len(fold_U), len(wanted_K)))
    for fold in range(len(wanted_K)):
        joined_U = _cost(columns, held_KJ[fold] + share_UJ, wanted_K[fold : fold + 1],
                         scored_K[fold : fold + 1])  # fmt: skip
        gain_UK[:, fold] = joined_U - cost_K[fold]
    gain_UK += (left_U - cost_K[fold_U])[:, None]
    gain_UK[np.arange(len(fold_U)), fold_U] = 0.0
    unit, fold = divmod(int(np.argmin(np.round(gain_UK, DIGITS))), len(wanted_K))
    if round(float(gain_UK[unit, fold]), DIGITS) >= 0:
        return False
    fold_U[unit] = fold
    return True


def _swap(columns: Columns, fold_U: IntArray, held_KJ: FloatArray, target: Target) -> bool:
    share_UJ, wanted_U = columns.share_UJ, target.shares_K[fold_U]
    scored_U = target.scored_K[fold_U]
    cost_U = _cost(columns, held_KJ, target.shares_K, target.scored_K)[fold_U]
    change_UUJ = share_UJ[None, :, :] - share_UJ[:, None, :]  # unit u leaves, unit v comes
    num_units = len(fold_U)
    mine_UU = _cost(columns, held_KJ[fold_U][:, None, :] + change_UUJ,
                    np.repeat(wanted_U[:, None], num_units, 1),
                    np.repeat(scored_U[:, None], num_units, 1)) - cost_U[:, None]  # fmt: skip
    gain_UU = np.where(fold_U[:, None] == fold_U[None, :], 0.0, mine_UU + mine_UU.T)
    first, second = divmod(int(np.argmin(np.round(gain_UU, DIGITS))), num_units)
    if round(float(gain_UU[first, second]), DIGITS) >= 0:
        return False
    fold_U[first], fold_U[second] = fold_U[second], fold_U[first]
    return True


def deal(class_N: IntArray, key_N: U64, target: Target) -> IntArray:
    """Return folds of single items dealt out at random within each class, int64 [N].

    Cross-validation shares each class and the whole out to within one item. A hold-out takes its
    share of each class, at least one item and never all; a class of one item stays in training.
    """
    order = np.lexsort((key_N, class_N))
    position = np.arange(len(order), dtype=np.int64)
    if len(target.shares_K) == 2 and not target.scored_K[1]:
        _, starts, index, count = np.unique(
            class_N[order], return_index=True, return_inverse=True, return_counts=True
        )
        quota = np.clip(np.floor(count * target.shares_K[0] + 0.5), 1, count - 1)
        dealt = np.where(position - starts[index] < quota[index], 0, 1)
    else:
        dealt = position % len(target.shares_K)
    fold_N = np.empty(len(order), dtype=np.int64)
    fold_N[order] = dealt
    return fold_N


def unit_keys(names: list[str], seed: int) -> U64:
    """Return a key for each named unit that depends on its name and the seed alone."""
    return mix64(seed, keys_of(names))
