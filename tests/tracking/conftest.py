"""Two jobs of a sweep, sent to a real local MLflow store once for all tests that look at it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chirpid.tracking import Tracker, open_tracker

ALL_SENT_S = 120.0  # importing mlflow takes seconds, and many more on a busy machine


def train(tracker: Tracker, folder: Path) -> dict[str, str]:
    """Log what a small cross-validation of a sweep logs; return our run ids."""
    sweep = tracker.find_or_start("sweep-1", "a sweep")
    run = tracker.start_run("run", parent=sweep, tags={"kind": "cv"})
    tracker.log_params(
        run, {"seed": 0, "optim": {"lr": 0.002, "name": "adamw"}, "long": "x" * 9000}
    )
    fold = tracker.start_run("fold 0", parent=run)
    for epoch in range(30):
        values = {"train/loss": 1.0 / (epoch + 1), "odd$name": 1.0, "valid/f1": math.nan}
        tracker.log_metrics(fold, values, step=epoch)
    plot = folder / "plots" / "curve.txt"
    plot.parent.mkdir(parents=True)
    plot.write_text(f"plot of {folder.name}")
    tracker.log_file(fold, plot, folder="plots")
    tracker.log_file(fold, folder / "never written.png")
    for ours in (fold, run, sweep):
        tracker.end_run(ours, "FINISHED")
    return {"sweep": sweep, "run": run, "fold": fold}


class Jobs:
    """Two jobs of a sweep whose senders start at the same moment on a store that is not there."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self.said: list[str] = []
        folders = [outputs / "sweeps" / "s" / str(job) for job in range(2)]
        trackers = [open_tracker("mlflow", folder=folder, outputs=outputs, say=self.said.append)
                    for folder in folders]  # fmt: skip
        self.runs = [train(t, f) for t, f in zip(trackers, folders, strict=True)]
        self.sent = [tracker.flush(ALL_SENT_S) for tracker in trackers]
        self.ids = [{k: t.server_run_id(v) for k, v in runs.items()}
                    for t, runs in zip(trackers, self.runs, strict=True)]  # fmt: skip
        for tracker in trackers:
            tracker.close()


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    return Jobs(tmp_path_factory.mktemp("a folder with ü, # and %") / "outputs")
