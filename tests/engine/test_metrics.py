"""Scores agree with scikit-learn, hold at the edges, and their intervals cover the truth."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from chirpid.engine.bootstrap import intervals, resampled_scores
from chirpid.engine.metrics import (
    METRIC_NAMES,
    METRICS,
    confusion,
    recording_labels,
    report,
    score,
    summarise,
    to_recordings,
    weighted_scores,
)
from tests.examples import examples

NAMES = [f"bird {c}" for c in range(6)]


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with many ties, and labels that may leave classes out."""
    num, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    grid = hnp.arrays(np.float64, (num, classes), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    labels = hnp.arrays(np.int64, num, elements=st.integers(0, classes - 1))
    return draw(grid), draw(labels)


def by_scikit_learn(
    probs: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> dict[str, float]:
    """Return the same four scores, slowly."""
    keep = np.ones(len(labels), bool) if weight is None else weight > 0
    probs, labels, weight = probs[keep], labels[keep], None if weight is None else weight[keep]
    present, predicted = np.unique(labels), probs.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "accuracy": accuracy_score(labels, predicted, sample_weight=weight),
            "macro_f1": f1_score(labels, predicted, labels=present, average="macro",
                                 sample_weight=weight, zero_division=0.0),
            "macro_auroc": np.nan if len(present) < 2 else float(np.mean(
                [roc_auc_score(labels == c, probs[:, c], sample_weight=weight) for c in present])),
            "cmap": float(np.mean([average_precision_score(labels == c, probs[:, c],
                                                           sample_weight=weight)
                                   for c in present])),
        }  # fmt: skip


@given(answers())
@settings(max_examples=examples(150), deadline=None)
def test_scores_agree_with_scikit_learn_ties_and_absent_classes_included(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    probs, labels = case
    ours = score(probs, labels, NAMES[: probs.shape[1]])
    assert ours == pytest.approx(by_scikit_learn(probs, labels), abs=1e-9, nan_ok=True)


@given(answers(), st.integers(0, 100))
@settings(max_examples=examples(100), deadline=None)
def test_a_weight_counts_an_item_so_many_times(
    case: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    probs, labels = case
    weight_RS = np.random.default_rng(seed).integers(0, 4, (len(labels), 3)).astype(float)
    weight_RS[0] += 1
    sets = weighted_scores(probs, labels, weight_RS)
    for s in range(3):
        repeated = np.repeat(np.arange(len(labels)), weight_RS[:, s].astype(int))
        by_copies = score(probs[repeated], labels[repeated], NAMES[: probs.shape[1]])
        ours = {name: float(values[s]) for name, values in sets.items()}
        assert ours == pytest.approx(by_copies, abs=1e-9, nan_ok=True)
        theirs = by_scikit_learn(probs, labels, weight_RS[:, s])
        assert ours == pytest.approx(theirs, abs=1e-9, nan_ok=True)


@given(answers(), st.randoms(use_true_random=False))
@settings(max_examples=examples(60), deadline=None)
def test_the_order_of_the_items_does_not_matter(
    case: tuple[np.ndarray, np.ndarray], random: Any
) -> None:
    probs, labels = case
    order = list(range(len(labels)))
    random.shuffle(order)
    names = NAMES[: probs.shape[1]]
    again = score(probs[order], labels[order], names)
    assert again == pytest.approx(score(probs, labels, names), abs=1e-12, nan_ok=True)


def test_perfect_answers_score_one_and_constant_ones_chance() -> None:
    labels = np.repeat(np.arange(4), 5)
    assert score(np.eye(4)[labels], labels, NAMES[:4]) == dict.fromkeys(METRICS, 1.0)
    flat = score(np.full((20, 4), 0.25), labels, NAMES[:4])
    assert flat["accuracy"] == flat["macro_auroc"] / 2 == flat["cmap"] == 0.25


def test_one_class_has_no_ranking_against_others_and_nothing_has_no_score() -> None:
    one = score([[0.9, 0.1], [0.2, 0.8]], [0, 0], NAMES[:2])
    assert one["accuracy"] == 0.5
    assert one["cmap"] == 1.0
    assert np.isnan(one["macro_auroc"])
    assert all(np.isnan(value) for value in score(np.empty((0, 3)), [], NAMES[:3]).values())


def test_an_absent_class_does_not_pull_the_mean_down() -> None:
    labels = np.array([0, 0, 1, 1])
    with_absent = np.column_stack([np.eye(2)[labels] * 0.9, np.full(4, 0.05)])
    assert score(with_absent, labels, NAMES[:3]) == dict.fromkeys(METRICS, 1.0)


def test_probabilities_that_are_not_finite_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="finite"):
        score([[np.nan, 1.0]], [0], NAMES[:2])


def test_a_recording_gets_the_mean_of_its_segments() -> None:
    probs = [[0.2, 0.8], [0.6, 0.4], [1.0, 0.0], [0.1, 0.9]]
    recordings, means = to_recordings(probs, [7, 3, 7, 7])
    assert recordings.tolist() == [3, 7]
    assert means == pytest.approx(np.array([[0.6, 0.4], [1.3 / 3, 1.7 / 3]]))
    assert recording_labels([1, 0, 1, 1], [7, 3, 7, 7]).tolist() == [0, 1]


def test_the_report_names_every_score_at_both_levels() -> None:
    probs = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    found = report(probs, [0, 0, 1], [0, 0, 1], NAMES[:2])
    assert tuple(found) == METRIC_NAMES
    assert found["segment/accuracy"] == pytest.approx(2 / 3)
    assert found["recording/accuracy"] == 1.0


def test_confusion_counts_true_classes_in_rows() -> None:
    assert confusion([0, 0, 2], [0, 1, 1], 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]
    assert confusion([], [], 2).tolist() == [[0, 0], [0, 0]]


def test_the_summary_passes_over_what_is_not_defined() -> None:
    folds = [{"a": 0.5, "b": np.nan}, {"a": 0.7, "b": np.nan}, {"a": np.nan, "b": 1.0}]
    table = summarise(folds, {"a": 0.6, "b": np.nan}, {"a": (0.4, 0.8)})
    assert table["a"]["mean"] == pytest.approx(0.6)
    assert table["a"]["std"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert table["a"]["ci95"] == [0.4, 0.8]
    assert table["b"] == {"mean": 1.0, "std": None, "pooled": None, "ci95": None}


def noisy(seed: int, num: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return answers that are right about two times in three."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, num)
    said = np.where(draw.random(num) < 0.56, labels, draw.integers(0, classes, num))
    return np.eye(classes)[said] * 0.7 + draw.random((num, classes)) * 0.1, labels


def test_intervals_of_95_percent_cover_the_true_accuracy_nearly_so_often() -> None:
    true = 0.56 + 0.44 / 4
    hits = 0
    for trial in range(200):
        low, high = intervals(*noisy(trial, 120), num_samples=300, seed=trial)["accuracy"]
        hits += low <= true <= high
    assert 0.89 <= hits / 200 <= 0.99


def test_the_resampled_deviation_is_that_of_a_binomial_share() -> None:
    probs, labels = noisy(1, 200)
    share = score(probs, labels, NAMES[:4])["accuracy"]
    found = resampled_scores(probs, labels, 4000, 0)["accuracy"]
    assert found.mean() == pytest.approx(share, abs=0.003)
    assert found.std() == pytest.approx(np.sqrt(share * (1 - share) / 200), rel=0.05)


def test_intervals_depend_on_the_seed_alone_and_hold_the_score() -> None:
    probs, labels = noisy(2, 150)
    one = intervals(probs, labels, num_samples=500, seed=5)
    assert one == intervals(probs, labels, num_samples=500, seed=5)
    assert one != intervals(probs, labels, num_samples=500, seed=6)
    for name in ("accuracy", "macro_f1", "macro_auroc"):
        assert one[name][0] <= score(probs, labels, NAMES[:4])[name] <= one[name][1]


@given(st.integers(0, 2**32 - 1), st.integers(2, 25))
@settings(max_examples=examples(30), deadline=None)
def test_an_interval_holds_its_own_score_however_small_the_set(seed: int, num: int) -> None:
    generator = np.random.default_rng(seed)
    probs, labels = generator.dirichlet(np.ones(4), num), generator.integers(4, size=num)
    found = score(probs, labels, list("abcd"))
    for name, (low, high) in intervals(probs, labels, num_samples=60, seed=seed).items():
        if np.isfinite(found[name]) and np.isfinite(low):
            assert low - 1e-12 <= found[name] <= high + 1e-12, name


def test_whole_recordists_drawn_at_once_give_a_wider_interval() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 200)
    group_R = np.repeat(np.arange(10), 20)
    right = (group_R % 3 > 0) | (draw.random(200) < 0.1)  # some recordists are hopeless
    probs = np.eye(3)[np.where(right, labels, (labels + 1) % 3)]
    alone = intervals(probs, labels, num_samples=800, seed=0)["accuracy"]
    grouped = intervals(probs, labels, num_samples=800, seed=0, groups_R=group_R)["accuracy"]
    assert grouped[1] - grouped[0] > 2 * (alone[1] - alone[0])


def test_intervals_at_the_edges_are_defined_without_warnings() -> None:
    assert intervals([[0.5, 0.5]], [0], num_samples=0, seed=0) == {}
    empty = intervals(np.empty((0, 2)), [], num_samples=10, seed=0)
    assert all(np.isnan(ends).all() for ends in empty.values())
    single = intervals([[0.9, 0.1]], [0], num_samples=10, seed=0)
    assert single["accuracy"] == (1.0, 1.0)
    assert np.isnan(single["macro_auroc"]).all()
