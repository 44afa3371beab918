"""MLflow's store after whole runs: nested, complete, and one run however often it was stopped."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chirpid.reports.sweep import fastest_of, read_jobs, settings
from tests.e2e.forks import Parent
from tests.e2e.line import (
    LONG,
    TINY,
    Ended,
    call,
    ended,
    results_of,
    run_folder,
    run_folders,
    same_run,
    start,
    train,
)

# Of the SQL library that mlflow uses, about the way it is used there.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader")

ON = "tracking=mlflow"


@pytest.fixture(scope="module")
def client() -> Callable[[Path], Any]:
    """Return a function that opens the local store below an outputs folder."""
    from mlflow import MlflowClient

    def opened(outputs: Path) -> Any:
        return MlflowClient(tracking_uri=f"sqlite:///{outputs / 'mlflow.db'}")

    return opened


def runs_of(store: Any) -> dict[str, list[Any]]:
    """Return all runs by their kind."""
    experiment = store.get_experiment_by_name("chirpid")
    found: dict[str, list[Any]] = {"sweep": [], "cross-validation": [], "fold": []}
    for run in store.search_runs([experiment.experiment_id], order_by=["start_time ASC"]):
        found[run.data.tags["chirpid.kind"]].append(run)
    return found


def parent_of(run: Any) -> str | None:
    parent: str | None = run.data.tags.get("mlflow.parentRunId")
    return parent


def history_of(store: Any, run: Any, metric: str) -> list[tuple[int, float]]:
    points = store.get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in points)


def files_of(store: Any, run: Any, folder: str = "") -> set[str]:
    return {item.path for item in store.list_artifacts(run.info.run_id, folder)}


@pytest.fixture(scope="module")
def swept(
    root: Path, tmp_path_factory: pytest.TempPathFactory, client: Callable[[Path], Any]
) -> tuple[Path, Any, dict[str, list[Any]]]:
    """A tracked sweep of two jobs."""
    outputs = tmp_path_factory.mktemp("swept")
    found = call(
        "train", "-m", *TINY, "model.params.width=4", f"dataset.root={root}",
        f"paths.outputs={outputs}", "mode=lazy,eager",
    )  # fmt: skip
    assert found.code == 0, found.err
    store = client(outputs)
    return outputs, store, runs_of(store)


def test_folds_lie_below_cross_validations_below_the_sweep(
    swept: tuple[Path, Any, dict[str, list[Any]]],
) -> None:
    outputs, _, runs = swept
    (sweep,) = runs["sweep"]
    assert parent_of(sweep) is None
    assert len(runs["cross-validation"]) == 2
    assert all(parent_of(run) == sweep.info.run_id for run in runs["cross-validation"])
    for run in runs["cross-validation"]:
        below = [fold for fold in runs["fold"] if parent_of(fold) == run.info.run_id]
        assert sorted(fold.data.tags["chirpid.fold"] for fold in below) == ["0", "1"]
    ends = {run.info.status for several in runs.values() for run in several}
    assert ends == {"FINISHED"}
    ids = {results_of(folder)["mlflow_run_id"] for folder in run_folders(outputs)}
    assert ids == {run.info.run_id for run in runs["cross-validation"]}


def test_the_sweep_tells_which_job_was_fastest_with_the_figures_of_the_jobs(
    swept: tuple[Path, Any, dict[str, list[Any]]],
) -> None:
    outputs, store, runs = swept
    (sweep,) = runs["sweep"]
    assert files_of(store, sweep, "sweep") == {
        f"sweep/{name}" for name in ("sweep.png", "sweep_in_page.png", "sweep.csv", "sweep.json")
    }
    (table,) = outputs.glob("sweeps/*/sweep.json")
    told = json.loads(table.read_text())
    rows = [dict(zip(told["columns"], row, strict=True)) for row in told["data"]]
    wanted = {found["mlflow_run_id"]: found for found in map(results_of, run_folders(outputs))}
    assert {row["mlflow_run_id"] for row in rows} == set(wanted)
    note = sweep.data.tags["mlflow.note.content"]
    for row in rows:
        results = wanted[row["mlflow_run_id"]]
        assert row["wall_s"] == results["wall_s"]
        assert row["score"] in results["metrics"]["recording/macro_f1"].values()
        assert f"/runs/{row['mlflow_run_id']})" in note
        assert row["settings"] in note
    rates = [row["samples_per_s"] for row in rows]
    assert rates == sorted(rates, reverse=True)
    jobs = read_jobs(table.parent)
    fastest = fastest_of(jobs)
    name, bound = sweep.data.tags["chirpid.fastest"], sweep.data.tags["chirpid.fastest.bound_by"]
    if fastest is None:
        assert (name, bound) == ("cannot be told", "")
    else:
        assert (name, bound) == (settings(jobs)[fastest.number], fastest.bound_by)
    assert "{{" not in note


def test_runs_hold_settings_plan_environment_figures_and_files(
    swept: tuple[Path, Any, dict[str, list[Any]]],
) -> None:
    _, store, runs = swept
    assert {run.data.params["mode.name"] for run in runs["cross-validation"]} == {"lazy", "eager"}
    for run in runs["cross-validation"]:
        assert run.data.params["optim.lr"] == "0.002"
        assert "plan.backend" in run.data.params
        assert {"chirpid.config_hash", "chirpid.split_hash", "env.torch"} <= set(run.data.tags)
        assert {"recording/accuracy", "recording/macro_f1/pooled", "loader/wait_share",
                "loader/samples_per_s", "wall_s"} <= set(run.data.metrics)  # fmt: skip
        assert {"config.yaml", "splits.csv", "predictions.csv", "results.json"} <= files_of(
            store, run
        )
        assert files_of(store, run, "plots") == {
            f"plots/{name}.png"
            for name in ("confusion_matrix", "folds", "learning_curves", "spectrograms")
        }
    for run in runs["fold"]:
        assert files_of(store, run, "plots") == {
            "plots/loader_timeline.png", "plots/trace.json",
        }  # fmt: skip
        assert {"loader/wait_ms_p99", "loader/rss_mib", "loader/step_ms"} <= set(run.data.metrics)


def test_the_figures_of_each_epoch_are_those_of_the_training(
    swept: tuple[Path, Any, dict[str, list[Any]]],
) -> None:
    outputs, store, runs = swept
    by_id = {results_of(folder)["mlflow_run_id"]: folder for folder in run_folders(outputs)}
    for run in runs["fold"]:
        folder = by_id[parent_of(run)]
        kept = torch.load(folder / "folds" / run.data.tags["chirpid.fold"] / "outcome.pt")
        for metric in ("train/loss", "valid/loss", "valid/recording/macro_f1", "lr",
                       "loader/wait_share"):  # fmt: skip
            wanted = [(int(epoch["epoch"]), epoch[metric]) for epoch in kept["history"]]
            assert history_of(store, run, metric) == wanted


def stopped(forks: Parent, root: Path, outputs: Path, number: int, fold: int) -> Ended:
    """Send a signal to a training as soon as a fold has a checkpoint, and wait for its end."""
    process = start(forks, root, outputs, *LONG, ON, "resume=auto")
    deadline = time.monotonic() + 90
    while not any(outputs.glob(f"runs/*/folds/{fold}/checkpoint.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    return ended(process)


def test_a_run_stopped_by_ctrl_c_and_by_kill_9_is_one_run_with_the_same_bits(
    forks: Parent, root: Path, long_run: Path, tmp_path: Path, client: Callable[[Path], Any],
    no_plots: None,
) -> None:  # fmt: skip
    found = stopped(forks, root, tmp_path, signal.SIGINT, 0)
    assert found.code == 130
    assert found.line.startswith("interrupted: Stopped in fold 0, epoch ")
    assert "resume=auto" in found.line
    assert "going on in" in stopped(forks, root, tmp_path, signal.SIGKILL, 1).out
    state = json.loads((run_folder(tmp_path) / "state.json").read_text())
    assert state["status"] == "running"
    assert state["wall_s"] > 0.1, "the time worked before kill -9 is known"
    again = train(root, tmp_path, *LONG, ON, "resume=auto")
    assert again.code == 0
    assert "fold 0 was done before" in again.out
    assert same_run(run_folder(tmp_path), long_run)
    store = client(tmp_path)
    runs = runs_of(store)
    (whole,) = runs["cross-validation"]
    assert [run.info.status for several in runs.values() for run in several] == ["FINISHED"] * 3
    assert [run.data.tags["chirpid.fold"] for run in runs["fold"]] == ["0", "1"]
    assert all(parent_of(run) == whole.info.run_id for run in runs["fold"])
    for run in runs["fold"]:
        assert {step for step, _ in history_of(store, run, "train/loss")} == set(range(20))


def test_a_server_that_is_away_is_told_once_and_gets_all_of_it_later(
    root: Path, tmp_path: Path, client: Callable[[Path], Any], no_plots: None
) -> None:
    found = train(root, tmp_path, ON, "tracking.uri=http://127.0.0.1:9")
    assert found.code == 0, found.err
    told = [line for line in found.out.splitlines() if "is away" in line]
    assert len(told) == 1
    assert "chirpid sync" in told[0]
    assert results_of(run_folder(tmp_path))["mlflow_run_id"] is None
    command = ("sync", "--outputs", str(tmp_path), "--uri", f"sqlite:///{tmp_path}/mlflow.db")
    for _ in range(2):
        assert call(*command).code == 0
    runs = runs_of(client(tmp_path))
    assert [len(runs[kind]) for kind in ("cross-validation", "fold")] == [1, 2]
    assert "recording/accuracy" in runs["cross-validation"][0].data.metrics


def test_what_failed_is_failed_there_with_the_reason(
    root: Path, tmp_path: Path, client: Callable[[Path], Any]
) -> None:
    """Found only while the stores are built: the run exists by then."""
    import shutil

    folder = shutil.copytree(root, tmp_path / "set")
    from chirpid.cli import session

    before = session.prepare_loader

    def lose(*args: Any) -> Any:
        (folder / "audio/000.wav").unlink()
        return before(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "prepare_loader", lose)
        found = train(folder, tmp_path / "out", ON)
    assert found.code == 2
    (run,) = runs_of(client(tmp_path / "out"))["cross-validation"]
    assert run.info.status == "FAILED"
    assert run.data.tags["chirpid.error"] == found.line
