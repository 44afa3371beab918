from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from chirpid.cli.ui import main
from tests.tracking.conftest import Jobs


def test_a_missing_store_is_one_line_that_says_to_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--outputs", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("data error: No runs in ")
    assert "Train first" in said
    assert len(said.splitlines()) == 1


def test_a_port_in_use_is_one_line_that_names_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--outputs", str(tmp_path), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"config error: Port {port} cannot be used")
    assert f"--port {port + 1}" in said
    assert len(said.splitlines()) == 1


def test_the_pages_show_the_store_and_ctrl_c_ends_all_of_it(jobs: Jobs) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pages = subprocess.Popen(
        [sys.executable, "-m", "chirpid.cli.ui", "--outputs", str(jobs.outputs),
         "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert pages.stdout is not None
        line = pages.stdout.readline()  # comes when the pages are there
        assert line.startswith(f"MLflow is at http://127.0.0.1:{port}/#/experiments/1/runs")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as reply:
            assert b"<title>MLflow</title>" in reply.read()
        os.kill(pages.pid, signal.SIGINT)
        assert pages.wait(timeout=30) == 0
        assert pages.stdout.read() == ""
    finally:
        pages.kill()
        pages.stdout.close()
    time.sleep(0.1)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
