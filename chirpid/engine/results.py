"""The files of a run that other programs read: predictions.csv and results.json."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chirpid.engine.bootstrap import intervals
from chirpid.engine.metrics import (
    confusion,
    recording_labels,
    report,
    summarise,
    to_recordings,
)
from chirpid.engine.rule import FoldOutcome, Task
from chirpid.storage.atomic import write_text
from chirpid.types import FloatArray, IntArray

RESULTS_VERSION = 1


@dataclass(frozen=True, slots=True)
class Pooled:
    """All validated recordings (R) of all folds at once."""

    recordings_R: IntArray
    labels_R: IntArray
    folds_R: IntArray
    probs_RC: FloatArray
    metrics: dict[str, float]

    def confusion(self) -> IntArray:
        """Return counts [C, C], true classes in rows."""
        predicted = self.probs_RC.argmax(axis=1)
        return confusion(self.labels_R, predicted, self.probs_RC.shape[1])


def pool(outcomes: Sequence[FoldOutcome], task: Task) -> Pooled:
    """Return the validated recordings of the folds and their scores, taken at once.

    A recording whose segments are in several folds (cv.group_by=segment) has the mean of all.
    """
    ids = np.concatenate([o.valid_ids for o in outcomes])
    probs = np.concatenate([o.probs_NC for o in outcomes])
    fold_N = np.concatenate([np.full(len(o.valid_ids), o.fold) for o in outcomes])
    recording = task.recording_N[ids]
    recordings, probs_RC = to_recordings(probs, recording)
    _, first = np.unique(recording, return_index=True)
    return Pooled(
        recordings_R=recordings,
        labels_R=recording_labels(task.label_N[ids], recording),
        folds_R=fold_N[first],
        probs_RC=probs_RC,
        metrics=report(probs, task.label_N[ids], recording, task.classes),
    )


def write_predictions(
    path: Path, pooled: Pooled, names_R: Sequence[str], classes: Sequence[str]
) -> None:
    """Write one row per recording: recording, label, fold, predicted, p_<class>…

    Args:
        names_R: name of every recording of the set, indexed by `pooled.recordings_R`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["recording", "label", "fold", "predicted", *(f"p_{c}" for c in classes)])
    rows = [
        [
            names_R[recording],
            classes[label],
            fold,
            classes[int(np.argmax(probs))],
            *(f"{p:.6f}" for p in probs),
        ]
        for recording, label, fold, probs in zip(
            pooled.recordings_R, pooled.labels_R, pooled.folds_R, pooled.probs_RC, strict=True
        )
    ]
    writer.writerows(sorted(rows))
    write_text(path, out.getvalue())


def make_results(
    outcomes: Sequence[FoldOutcome],
    pooled: Pooled,
    *,
    bootstrap_samples: int,
    seed: int,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Return the content of results.json.

    Args:
        facts: split_hash, config_hash, wall_s and what else the run knows of itself.
    """
    ci95 = {}
    if bootstrap_samples:
        found = intervals(
            pooled.probs_RC, pooled.labels_R, num_samples=bootstrap_samples, seed=seed
        )
        ci95 = {f"recording/{name}": bounds for name, bounds in found.items()}
    return {
        "version": RESULTS_VERSION,
        "metrics": summarise([o.metrics for o in outcomes], pooled.metrics, ci95),
        "folds": [
            {
                "fold": o.fold,
                "metrics": _plain(o.metrics),
                "loader": {k.removeprefix("loader/"): v for k, v in _plain(o.loader).items()},
                "epochs": len(o.history),
                "best_epoch": o.best_epoch,
                "seconds": round(o.seconds, 3),
            }
            for o in outcomes
        ],
        "num_recordings": len(pooled.recordings_R),
        "seed": seed,
        **facts,
    }


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results.json, whole or not at all."""
    write_text(path, json.dumps(results, indent=1, allow_nan=False) + "\n")


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    """Return the figures with None for what is not defined: JSON knows no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
