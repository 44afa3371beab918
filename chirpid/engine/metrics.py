"""Scores of probabilities against labels: one implementation for points and for resamples.

Every score takes weights, S sets at once, so that a bootstrap resample is a column of counts. A
plain score is one set of ones. Ties are counted as scikit-learn counts them.

Letters: N segments, R recordings (or any scored items), C classes, S sets of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from chirpid.types import FloatArray, IntArray

METRICS = ("accuracy", "macro_f1", "macro_auroc", "cmap")
LEVELS = ("segment", "recording")
METRIC_NAMES = tuple(f"{level}/{metric}" for level in LEVELS for metric in METRICS)
"""What `report` returns, and what `engine.monitor` and `metric` may name."""


def score(
    probs_RC: npt.ArrayLike, labels_R: npt.ArrayLike, classes: Sequence[str]
) -> dict[str, float]:
    """Return accuracy, macro_f1, macro_auroc and cmap of one set.

    A score that is not defined is NaN: all of them without items, macro_auroc with one class.

    - accuracy: share of items whose largest probability (the first of equals) is at their label.
    - macro_f1: mean F1 of the classes that occur in the labels. Predicting a class that does not
      occur costs the recall of the true one.
    - macro_auroc: mean over the classes that occur, each against the rest.
    - cmap: mean average precision of the classes that occur. Not padded as in the BirdCLEF
      competitions, which add five perfect rows to each class and so flatter rare ones.
    """
    probs, labels = _checked(probs_RC, labels_R, len(classes))
    sets = weighted_scores(probs, labels, np.ones((len(labels), 1)))
    return {name: float(values_S[0]) for name, values_S in sets.items()}


def report(
    probs_NC: npt.ArrayLike,
    labels_N: npt.ArrayLike,
    recording_N: npt.ArrayLike,
    classes: Sequence[str],
) -> dict[str, float]:
    """Return the scores per segment and per recording, named as in `METRIC_NAMES`."""
    _, probs_RC = to_recordings(probs_NC, recording_N)
    levels = {
        "segment": score(probs_NC, labels_N, classes),
        "recording": score(probs_RC, recording_labels(labels_N, recording_N), classes),
    }
    return {f"{level}/{name}": value for level in LEVELS for name, value in levels[level].items()}


def to_recordings(
    probs_NC: npt.ArrayLike, recording_N: npt.ArrayLike
) -> tuple[IntArray, FloatArray]:
    """Return the recordings that occur, ascending, and the mean probabilities of their segments."""
    probs = np.asarray(probs_NC, dtype=np.float64)
    recordings, row_N = np.unique(np.asarray(recording_N, dtype=np.int64), return_inverse=True)
    sums_RC = np.zeros((len(recordings), probs.shape[1]))
    np.add.at(sums_RC, row_N, probs)
    return recordings, sums_RC / np.bincount(row_N, minlength=len(recordings))[:, None]


def recording_labels(labels_N: npt.ArrayLike, recording_N: npt.ArrayLike) -> IntArray:
    """Return the label of each recording that occurs, in the order of `to_recordings`."""
    _, first_R = np.unique(np.asarray(recording_N, dtype=np.int64), return_index=True)
    return np.asarray(labels_N, dtype=np.int64)[first_R]


def confusion(labels: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int) -> IntArray:
    """Return how often each true class (rows) was taken for each class (columns), int64 [C, C]."""
    pair = np.asarray(labels, np.int64) * num_classes + np.asarray(predicted, np.int64)
    counts = np.bincount(pair, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def summarise(
    fold_metrics: Sequence[Mapping[str, float]],
    pooled: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
) -> dict[str, dict[str, float | list[float] | None]]:
    """Return the `metrics` of results.json: mean, std, pooled and ci95 of each score.

    `mean` and `std` (of the sample, n - 1) are over the folds in which a score is defined. What is
    not defined, such as the deviation of one fold, is None, since JSON knows no NaN.
    """
    table: dict[str, dict[str, float | list[float] | None]] = {}
    for name, value in pooled.items():
        known = [fold[name] for fold in fold_metrics if np.isfinite(fold.get(name, np.nan))]
        low, high = intervals.get(name, (np.nan, np.nan))
        table[name] = {
            "mean": float(np.mean(known)) if known else None,
            "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
            "pooled": float(value) if np.isfinite(value) else None,
            "ci95": [float(low), float(high)] if np.isfinite(low + high) else None,
        }
    return table


def weighted_scores(
    probs_RC: FloatArray, labels_R: IntArray, weight_RS: FloatArray
) -> dict[str, FloatArray]:
    """Return each score for each set of weights, float64 [S].

    A weight of 2 counts an item twice, 0 leaves it out; a class occurs if its weights are not all
    zero. NaN where a score is not defined.
    """
    num_classes = probs_RC.shape[1]
    predicted_R = probs_RC.argmax(axis=1)
    true_CS = _sum_by(weight_RS, labels_R, num_classes)
    hits_CS = _sum_by(weight_RS * (predicted_R == labels_R)[:, None], labels_R, num_classes)
    guesses_CS = _sum_by(weight_RS, predicted_R, num_classes)
    occurs_CS = true_CS > 0
    f1_CS = 2 * hits_CS / np.where(occurs_CS, true_CS + guesses_CS, 1.0)
    auroc_CS, precision_CS = _ranking_scores(probs_RC, labels_R, weight_RS, true_CS)
    total_S = weight_RS.sum(axis=0)
    return {
        "accuracy": _ratio(hits_CS.sum(axis=0), total_S),
        "macro_f1": _mean_where(f1_CS, occurs_CS),
        "macro_auroc": _mean_where(auroc_CS, occurs_CS & (true_CS < total_S)),
        "cmap": _mean_where(precision_CS, occurs_CS),
    }


def _checked(
    probs_RC: npt.ArrayLike, labels_R: npt.ArrayLike, num_classes: int
) -> tuple[FloatArray, IntArray]:
    probs = np.asarray(probs_RC, dtype=np.float64).reshape(-1, num_classes)
    labels = np.asarray(labels_R, dtype=np.int64)
    assert probs.shape == (len(labels), num_classes), "one row of probabilities for each label"
    assert np.isfinite(probs).all(), "probabilities must be finite"
    assert not len(labels) or 0 <= labels.min() <= labels.max() < num_classes, "labels in range"
    return probs, labels


def _sum_by(weight_RS: FloatArray, class_R: IntArray, num_classes: int) -> FloatArray:
    sums_CS = np.zeros((num_classes, weight_RS.shape[1]))
    np.add.at(sums_CS, class_R, weight_RS)
    return sums_CS


def _ranking_scores(
    probs_RC: FloatArray, labels_R: IntArray, weight_RS: FloatArray, true_CS: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return area under the ROC curve and average precision of each class, both [C, S].

    Items of equal probability are one step of the curves: half of their pairs count for the area,
    and precision is taken after all of them.
    """
    auroc_CS, precision_CS = np.zeros_like(true_CS), np.zeros_like(true_CS)
    total_S = weight_RS.sum(axis=0)
    above_RS = np.zeros((len(labels_R) + 1, weight_RS.shape[1]))  # weight of the first r items
    for c in np.flatnonzero((true_CS > 0).any(axis=1)):
        order = np.argsort(-probs_RC[:, c], kind="stable")
        np.cumsum(weight_RS[order], axis=0, out=above_RS[1:])
        place_P = np.flatnonzero(labels_R[order] == c)  # P: items of this class, best first
        own_PS = weight_RS[order[place_P]]
        first_P, last_P = _ties(-probs_RC[order, c], place_P)
        own_above_PS = np.concatenate([np.zeros((1, own_PS.shape[1])), np.cumsum(own_PS, axis=0)])
        own_first_PS = own_above_PS[np.searchsorted(place_P, first_P)]
        own_last_PS = own_above_PS[np.searchsorted(place_P, last_P)]
        hits_PS = _ratio(own_last_PS, above_RS[last_P], 0.0)
        precision_CS[c] = _ratio((own_PS * hits_PS).sum(axis=0), true_CS[c])
        better_PS = (above_RS[first_P] - own_first_PS + above_RS[last_P] - own_last_PS) / 2
        pairs_S = true_CS[c] * (total_S - true_CS[c])
        auroc_CS[c] = _ratio(pairs_S - (own_PS * better_PS).sum(axis=0), pairs_S)
    return auroc_CS, precision_CS


def _ties(ascending_R: FloatArray, place_P: IntArray) -> tuple[IntArray, IntArray]:
    """Return for each place where the run of equal values around it begins, and where it ends."""
    value_P = ascending_R[place_P]
    first_P = np.searchsorted(ascending_R, value_P, side="left")
    return first_P, np.searchsorted(ascending_R, value_P, side="right")


def _ratio(above: FloatArray, below: FloatArray, empty: float = np.nan) -> FloatArray:
    """Return above / below, `empty` where below is not positive."""
    safe = below > 0
    return np.where(safe, above / np.where(safe, below, 1.0), empty)


def _mean_where(values_CS: FloatArray, known_CS: npt.NDArray[np.bool_]) -> FloatArray:
    return _ratio(
        np.where(known_CS, values_CS, 0.0).sum(axis=0), known_CS.sum(axis=0).astype(float)
    )
