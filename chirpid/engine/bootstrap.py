"""How sure a score is: percentile intervals from resampled recordings.

Letters: R recordings, C classes, G groups, S resamples.
Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from chirpid.engine.metrics import weighted_scores
from chirpid.types import FloatArray, IntArray

_BLOCK_VALUES = 200_000
"""Weights held at a time: a block of resamples stays in the cache."""
_MIN_BLOCK = 16


def intervals(
    probs_RC: npt.ArrayLike,
    labels_R: npt.ArrayLike,
    *,
    num_samples: int,
    seed: int,
    groups_R: Sequence[str] | npt.ArrayLike | None = None,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Return an interval of each score of `metrics.score`, as wide as `level` of the resamples.

    Percentiles, moved so that the middle of the resamples lies on the score itself. Resampling
    repeats recordings, which flatters ranking scores of small sets: unmoved, the interval of a
    small set's cmap can lie wholly above its cmap.

    A resample draws as many recordings as there are, with replacement; with `groups_R` it draws
    whole groups, which is wider and says how the score would change with other recordists. Scores
    that a resample leaves undefined are passed over; NaN if all are, or without recordings.

    Args:
        num_samples: resamples; 0 returns an empty dict.
    """
    if num_samples < 1:
        return {}
    probs = np.asarray(probs_RC, dtype=np.float64)
    labels = np.asarray(labels_R, dtype=np.int64)
    values = resampled_scores(probs, labels, num_samples, seed, groups_R)
    whole = weighted_scores(probs, labels, np.ones((len(labels), 1)))
    tail = (1.0 - level) / 2
    return {
        name: _interval(found_S, float(whole[name][0]), tail) for name, found_S in values.items()
    }


def resampled_scores(
    probs_RC: FloatArray,
    labels_R: IntArray,
    num_samples: int,
    seed: int,
    groups_R: Sequence[str] | npt.ArrayLike | None = None,
) -> dict[str, FloatArray]:
    """Return each score of each resample, float64 [S]; the draws depend on the seed alone."""
    generator = np.random.default_rng(seed)
    num = len(labels_R)
    names = np.arange(num) if groups_R is None else np.asarray(groups_R, dtype=object)
    _, group_R = np.unique(names, return_inverse=True)
    num_groups = int(group_R.max()) + 1 if num else 0
    block = max(_MIN_BLOCK, _BLOCK_VALUES // max(num, 1))
    found: list[dict[str, FloatArray]] = []
    for start in range(0, num_samples, block):
        size = min(block, num_samples - start)
        weight_GS = _draw(generator, size, num_groups).T
        found.append(weighted_scores(probs_RC, labels_R, weight_GS[group_R]))
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _draw(generator: np.random.Generator, num_samples: int, num_groups: int) -> FloatArray:
    """Return how often each group is drawn in each resample, float64 [S, G]."""
    if not num_groups:
        return np.zeros((num_samples, 0))
    chosen = generator.integers(num_groups, size=(num_samples, num_groups))
    chosen += np.arange(num_samples)[:, None] * num_groups
    counts = np.bincount(chosen.ravel(), minlength=num_samples * num_groups)
    return counts.reshape(num_samples, num_groups).astype(np.float64)


def _interval(found_S: FloatArray, score: float, tail: float) -> tuple[float, float]:
    known = found_S[np.isfinite(found_S)]
    if not len(known) or not np.isfinite(score):
        return float("nan"), float("nan")
    low, middle, high = np.quantile(known, [tail, 0.5, 1.0 - tail])
    return max(0.0, float(score + low - middle)), min(1.0, float(score + high - middle))
