"""The tracker against a real local MLflow store; what it holds is read from its SQLite file."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chirpid.tracking import open_tracker
from chirpid.tracking.journal import read_events
from tests.tracking.conftest import ALL_SENT_S, Jobs


def query(outputs: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    store = sqlite3.connect(f"{(outputs / 'mlflow.db').as_uri()}?mode=ro", uri=True)
    try:
        return store.execute(sql, values).fetchall()
    finally:
        store.close()


def tag(outputs: Path, run_id: str | None, key: str) -> str | None:
    found = query(outputs, "SELECT value FROM tags WHERE run_uuid = ? AND key = ?", run_id, key)
    return str(found[0][0]) if found else None


def status(outputs: Path, run_id: str | None) -> object:
    return query(outputs, "SELECT status FROM runs WHERE run_uuid = ?", run_id)[0][0]


def test_two_jobs_at_once_share_one_new_store_and_one_sweep(jobs: Jobs) -> None:
    assert jobs.sent == [True, True]
    assert jobs.runs[0]["sweep"] == jobs.runs[1]["sweep"]
    assert jobs.ids[0]["sweep"] == jobs.ids[1]["sweep"] is not None
    assert len({ids["fold"] for ids in jobs.ids}) == 2
    assert query(jobs.outputs, "SELECT count(*) FROM runs") == [(5,)]


def test_runs_are_nested_and_finished(jobs: Jobs) -> None:
    for ids in jobs.ids:
        assert tag(jobs.outputs, ids["fold"], "mlflow.parentRunId") == ids["run"]
        assert tag(jobs.outputs, ids["run"], "mlflow.parentRunId") == ids["sweep"]
        assert tag(jobs.outputs, ids["run"], "kind") == "cv"
        assert {status(jobs.outputs, run) for run in ids.values()} == {"FINISHED"}


def test_every_point_and_setting_arrives_once(jobs: Jobs) -> None:
    points = query(jobs.outputs, "SELECT step, value FROM metrics WHERE run_uuid = ? AND"
                   " key = 'train/loss' ORDER BY step", jobs.ids[0]["fold"])  # fmt: skip
    assert points == [(epoch, 1.0 / (epoch + 1)) for epoch in range(30)]
    missing = query(jobs.outputs, "SELECT count(*) FROM metrics WHERE run_uuid = ? AND"
                    " key = 'valid/f1' AND is_nan", jobs.ids[0]["fold"])  # fmt: skip
    assert missing == [(30,)]
    params = dict(query(jobs.outputs, "SELECT key, value FROM params WHERE run_uuid = ?",
                        jobs.ids[0]["run"]))  # fmt: skip
    assert params["optim.lr"] == "0.002"
    assert str(params["long"]).startswith("x" * 5000)


def test_files_arrive_and_a_missing_one_is_told_once(jobs: Jobs) -> None:
    for job, ids in enumerate(jobs.ids):
        folder = jobs.outputs / "mlartifacts" / str(ids["fold"]) / "artifacts" / "plots"
        assert (folder / "curve.txt").read_text() == f"plot of {job}"
    assert len(jobs.said) == 2, jobs.said
    assert all("never written.png" in line for line in jobs.said)


KILLED = """
import os, signal, sys
from pathlib import Path
from chirpid.tracking import open_tracker
outputs = Path(sys.argv[1])
tracker = open_tracker("mlflow", folder=outputs / "runs" / "a", outputs=outputs)
run = tracker.start_run("run")
fold = tracker.start_run("fold 0", parent=run)
for step in range(10):
    tracker.log_metrics(fold, {"loss": float(step)}, step=step)
if sys.argv[2] == "sent":
    assert tracker.flush(120)
tracker.log_metrics(fold, {"last": 1.0}, step=0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_training_killed_at_once_is_sent_whole_and_resumed_in_the_same_runs(
    tmp_path: Path,
) -> None:
    outputs, folder = tmp_path, tmp_path / "runs" / "a"
    done = subprocess.run([sys.executable, "-c", KILLED, str(outputs), "unsent"], check=False)
    assert done.returncode == -signal.SIGKILL
    with open(folder / "tracking.jsonl", "ab") as journal:
        journal.write(b'{"kind":"metrics","t":1,"torn')
    deadline = time.monotonic() + ALL_SENT_S
    while not _all_killed(outputs):  # by the sender, which outlives the training
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert query(outputs, "SELECT count(*) FROM metrics") == [(11,)]

    tracker = open_tracker("mlflow", folder=folder, outputs=outputs)
    run = tracker.start_run("run")
    fold = tracker.start_run("fold 0", parent=run)
    fresh = tracker.start_run("fold 1", parent=run)
    tracker.log_metrics(fold, {"loss": 10.0}, step=10)
    for ours in (fold, fresh, run):
        tracker.end_run(ours, "FINISHED")
    tracker.close()
    starts = [e["run"] for e, _ in read_events(folder / "tracking.jsonl") if e and "name" in e]
    assert starts == [run, fold, fresh]
    assert query(outputs, "SELECT status, count(*) FROM runs GROUP BY status") == [("FINISHED", 3)]
    losses = query(outputs, "SELECT value FROM metrics WHERE key = 'loss' ORDER BY step")
    assert losses == [(float(step),) for step in range(11)]
    assert tag(outputs, tracker.server_run_id(fresh), "mlflow.parentRunId") == (
        tracker.server_run_id(run)
    )


def _all_killed(outputs: Path) -> bool:
    try:
        states = query(outputs, "SELECT status FROM runs")
    except sqlite3.OperationalError:
        return False
    return states == [("KILLED",), ("KILLED",)]


def _must_not(*_: object) -> None:
    raise AssertionError("a call waited")


def test_no_call_waits_for_a_server_that_is_silent(tmp_path: Path) -> None:
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said: list[str] = []
        tracker = open_tracker("mlflow", folder=tmp_path, outputs=tmp_path, timeout_s=1.0,
                               uri=f"http://127.0.0.1:{silent.getsockname()[1]}",
                               say=said.append)  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            # A call that waits connects to the server, or sleeps until the sender has done so.
            patch.setattr(socket.socket, "connect", _must_not)
            patch.setattr(time, "sleep", _must_not)
            run = tracker.start_run("run")
            for step in range(2000):
                tracker.log_metrics(run, {"a": 1.0, "b": 2.0}, step=step)
            assert tracker.server_run_id(run) is None
        assert not tracker.flush(ALL_SENT_S)
        tracker.close()
    assert len(said) == 1, said
    assert "no answer in time" in said[0]
    events = [event for event, _ in read_events(tmp_path / "tracking.jsonl") if event]
    assert sum(event["kind"] == "metrics" for event in events) == 2000


def test_runs_left_open_are_closed_as_killed(tmp_path: Path) -> None:
    said: list[str] = []
    tracker = open_tracker("mlflow", folder=tmp_path, outputs=tmp_path, send=False, say=said.append)
    run = tracker.start_run("run")
    tracker.close()
    tracker.close()
    ends = [e for e, _ in read_events(tmp_path / "tracking.jsonl") if e and e["kind"] == "end"]
    assert [(end["run"], end["status"]) for end in ends] == [(run, "KILLED")]
    assert len(said) == 1
    assert f"chirpid sync {tmp_path}" in said[0]
