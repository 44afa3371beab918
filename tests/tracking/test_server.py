"""Training beside a real MLflow server that comes, goes and comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chirpid.cli.sync import main
from chirpid.tracking import Tracker, open_tracker
from chirpid.tracking.sent import LOCK, locked

PATIENCE_S = 120.0  # starting the server takes many seconds on a busy machine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """An MLflow server on a store of its own that outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host",
                   "127.0.0.1", "--port", str(self.port), "--backend-store-uri",
                   f"sqlite:///{self.folder / 'server.db'}", "--artifacts-destination",
                   (self.folder / "artifacts").as_uri()]  # fmt: skip
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(command, env={**os.environ, **quiet},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not self.answers():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def ask(self, path: str, **body: object) -> Any:
        """Return the reply of MLflow's REST interface; GET if there is no body."""
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{path}",
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return the runs of the experiment by name."""
        found = self.ask("experiments/get-by-name?experiment_name=birds")
        ids = [found["experiment"]["experiment_id"]]
        runs = self.ask("runs/search", experiment_ids=ids, max_results=100)["runs"]
        assert len({run["info"]["run_name"] for run in runs}) == len(runs)
        return {run["info"]["run_name"]: run for run in runs}

    def history(self, name: str, metric: str) -> list[tuple[int, float]]:
        """Return step and value of all points of a metric, as they are stored."""
        run_id = self.runs()[name]["info"]["run_id"]
        reply = self.ask(f"metrics/get-history?run_id={run_id}&metric_key={metric}")
        return [(int(point["step"]), float(point["value"])) for point in reply["metrics"]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    result = Server(folder)
    yield result
    result.kill()


def epochs(tracker: Tracker, run: str, steps: range) -> None:
    for step in steps:
        tracker.log_metrics(run, {"loss": 1.0 / (step + 1)}, step=step)


def points(steps: range) -> list[tuple[int, float]]:
    return [(step, 1.0 / (step + 1)) for step in steps]


def test_what_a_server_missed_reaches_it_once_however_it_comes_and_goes(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs, said = tmp_path / "outputs", []
    where = {"outputs": outputs, "uri": server.uri, "experiment": "birds", "timeout_s": 5.0}

    # A training that never sees a server: told once, nothing raised, nothing lost.
    lonely = open_tracker("mlflow", folder=outputs / "runs" / "a", say=said.append, **where)
    run = lonely.start_run("lonely", tags={"who": "me"})
    lonely.log_params(run, {"seed": 1})
    epochs(lonely, run, range(5))
    (outputs / "runs" / "a" / "results.json").write_text("{}")
    lonely.log_file(run, outputs / "runs" / "a" / "results.json")
    assert not lonely.flush(PATIENCE_S)
    epochs(lonely, run, range(5, 8))
    lonely.end_run(run, "FINISHED")
    lonely.close()
    assert len(said) == 1, said
    assert "connection refused" in said[0]
    assert f"chirpid sync {outputs / 'runs' / 'a'}" in said[0]
    assert main(["--outputs", str(outputs)]) == 1
    assert "1 not sent" in capsys.readouterr().out

    # A training whose server dies and comes back under it.
    server.start()
    told: list[str] = []
    tracker = open_tracker("mlflow", folder=outputs / "runs" / "b", say=told.append, **where)
    run = tracker.start_run("unlucky")
    epochs(tracker, run, range(3))
    assert tracker.flush(PATIENCE_S)
    assert told == []
    assert server.history("unlucky", "loss") == points(range(3))
    server.kill()
    epochs(tracker, run, range(3, 6))
    assert not tracker.flush(PATIENCE_S)
    epochs(tracker, run, range(6, 9))
    server.start()
    tracker.end_run(run, "FINISHED")
    deadline = time.monotonic() + PATIENCE_S
    while not tracker.flush(1.0):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    tracker.close()
    assert len(told) == 1, told
    assert server.runs()["unlucky"]["info"]["status"] == "FINISHED"

    # What the first one kept is sent now, once; again, and again without a memory of it.
    capsys.readouterr()
    everything, only_a = ["--outputs", str(outputs)], [str(outputs / "runs" / "a")]
    assert main(everything) == 0
    assert "1 sent, 1 up to date, 0 not sent" in capsys.readouterr().out
    assert main(everything) == 0
    assert "0 sent, 2 up to date" in capsys.readouterr().out
    (outputs / "runs" / "a" / "tracking.sent.json").unlink()
    assert main(only_a) == 0
    assert "1 sent" in capsys.readouterr().out
    assert sorted(server.runs()) == ["lonely", "unlucky"]
    for name, steps in (("lonely", range(8)), ("unlucky", range(9))):
        assert server.history(name, "loss") == points(steps)
    lonely_run = server.runs()["lonely"]
    assert lonely_run["data"]["params"] == [{"key": "seed", "value": "1"}]
    files = server.ask(f"artifacts/list?run_id={lonely_run['info']['run_id']}")["files"]
    assert [file["path"] for file in files] == ["results.json"]


def test_sync_leaves_a_journal_alone_that_a_training_sends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_tracker("mlflow", folder=tmp_path, outputs=tmp_path, send=False).close()
    capsys.readouterr()
    with locked(tmp_path / LOCK, timeout_s=0.0):
        assert main([str(tmp_path)]) == 0
    assert "in use" in capsys.readouterr().out
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("make", [False, True])
def test_sync_says_where_it_looked_in_vain(
    tmp_path: Path, make: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "outputs"
    if make:
        folder.mkdir()
    assert main(["--outputs", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("data error: No ")
    assert str(folder) in said
    assert len(said.splitlines()) == 1
