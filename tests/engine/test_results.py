"""results.json and predictions.csv say what the outcomes say, whatever is missing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chirpid.engine.results import make_results, pool, write_predictions, write_results
from chirpid.engine.rule import FoldOutcome, Task
from chirpid.loading.monitor import Recording

CLASSES = ("a", "b, c", 'd "e"')
RECORDING_N = np.array([0, 0, 1, 1, 2, 3])
LABEL_R = np.array([0, 1, 2, 0])


def task() -> Task:
    labels = LABEL_R[RECORDING_N]
    return Task(
        classes=CLASSES, label_N=labels, recording_N=RECORDING_N,
        key_N=np.arange(6, dtype=np.uint64), target_NC=torch.eye(3)[torch.from_numpy(labels)],
        name=str,
    )  # fmt: skip


def outcome(fold: int, ids: list[int], **more: Any) -> FoldOutcome:
    probs = np.eye(3)[LABEL_R[RECORDING_N[ids]]] * 0.7 + 0.1
    return FoldOutcome(
        fold=fold, metrics={"recording/accuracy": 1.0}, valid_ids=np.array(ids), probs_NC=probs,
        history=[{"epoch": 0.0}], loader={"loader/wait_share": 0.1}, recording=Recording(),
        best_epoch=0, seconds=1.0, **more,
    )  # fmt: skip


def results(outcomes: list[FoldOutcome], samples: int = 20) -> dict[str, Any]:
    return make_results(
        outcomes, pool(outcomes, task()), bootstrap_samples=samples, seed=3, facts={"wall_s": 1.0}
    )


def test_a_recording_gets_the_mean_of_its_segments_whatever_folds_they_are_in() -> None:
    one, other = outcome(0, [0, 2, 4]), outcome(1, [1, 3, 5])
    one.probs_NC[0], other.probs_NC[0] = [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]
    pooled = pool([one, other], task())
    assert pooled.recordings_R.tolist() == [0, 1, 2, 3]
    assert pooled.probs_RC[0] == pytest.approx([0.4, 0.6, 0.0])
    assert pooled.folds_R.tolist() == [0, 0, 0, 1]
    assert pooled.confusion().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_what_is_not_defined_is_null(tmp_path: Path) -> None:
    sick = outcome(0, [0, 1])
    sick.metrics = {"recording/accuracy": 1.0, "recording/macro_auroc": float("nan")}
    sick.loader = {"loader/wait_share": float("inf")}
    write_results(tmp_path / "results.json", results([sick]))
    found = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert found["folds"][0]["metrics"]["recording/macro_auroc"] is None
    assert found["folds"][0]["loader"]["wait_share"] is None
    assert found["metrics"]["recording/accuracy"]["std"] is None, "one fold has no deviation"


def test_without_resamples_there_are_no_intervals() -> None:
    found = results([outcome(0, [0, 1, 2, 3, 4, 5])], samples=0)
    assert {values["ci95"] for values in found["metrics"].values()} == {None}


def test_odd_names_survive_in_predictions(tmp_path: Path) -> None:
    pooled = pool([outcome(0, [0, 1, 2, 3]), outcome(1, [4, 5])], task())
    names = ["z, 1.wav", 'y "2".wav', "鳥.ogg", "a.wav"]
    write_predictions(tmp_path / "p.csv", pooled, names, CLASSES)
    with open(tmp_path / "p.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["recording"] for row in rows] == sorted(names)
    by_name = {row["recording"]: row for row in rows}
    assert by_name["鳥.ogg"]["label"] == by_name["鳥.ogg"]["predicted"] == 'd "e"'
    assert float(by_name["a.wav"]["p_b, c"]) == pytest.approx(0.1)
