"""`chirpid ui`: MLflow's pages on the local store, in the browser."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from chirpid.errors import ChirpError, ConfigError, DataError

_HOST = "127.0.0.1"  # the store has no passwords: it is for this machine only
_START_S = 120.0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    result = argparse.ArgumentParser(
        prog="chirpid ui", description="Show the tracked runs in the browser. Ctrl-C ends it."
    )
    result.add_argument("--port", type=int, default=5000, help="port (default: %(default)s)")
    result.add_argument("--outputs", type=Path, default=Path("outputs"),
                        help="folder of all outputs (default: %(default)s)")  # fmt: skip
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; return 0, or 2 where it cannot be served."""
    options = parser().parse_args(argv)
    try:
        return _serve(options.outputs, options.port)
    except ChirpError as error:
        print(error.line(), file=sys.stderr)
        return error.exit_code


def _serve(outputs: Path, port: int) -> int:
    from chirpid.tracking.target import ARTIFACTS, Target

    target = Target(outputs)
    database = target.sqlite_file
    if database is None or not database.is_file():
        raise DataError(
            f"No runs in {outputs / 'mlflow.db'} yet. Train first, or set --outputs to the folder"
            " of your outputs."
        )
    _require_free(port)
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--backend-store-uri",
               target.address, "--default-artifact-root",
               (outputs.resolve() / ARTIFACTS).as_uri(), "--host", _HOST, "--port", str(port),
               "--workers", "1"]  # fmt: skip
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a job queue that nothing here uses
    }
    # A session of its own, so that Ctrl-C is answered here, once, and not by each of its processes.
    server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    return _watch(server, port, _latest_page(database))


def _latest_page(database: Path) -> str:
    """Return the page of the experiment that was trained last, empty if there is none.

    MLflow's own first page is about language models and hides the runs of a training.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as store:
            row = store.execute(
                "SELECT experiment_id FROM runs WHERE lifecycle_stage = 'active'"
                " ORDER BY start_time DESC LIMIT 1"
            ).fetchone()
    except sqlite3.Error:  # a store of another MLflow version: its first page will do
        return ""
    return f"/#/experiments/{row[0]}/runs?workflowType=machine_learning" if row else ""


def _require_free(port: int) -> None:
    """Raise ConfigError where the port is taken or cannot be had."""
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port={port} is not allowed: 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise ConfigError(
                f"Port {port} cannot be used ({error.strerror}). Is it open already, at"
                f" http://{_HOST}:{port}? Else use --port {port + 1}."
            ) from error


def _watch(server: subprocess.Popen[bytes], port: int, page: str) -> int:
    """Say where the pages are once they are there, and wait for the end."""
    address = f"http://{_HOST}:{port}"
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Also where a script started this in the background, which ignores Ctrl-C by default.
        signal.signal(sign, signal.default_int_handler)
    # Its words are kept for the case that it fails; a full pipe would stop it.
    words = _Tail(server)
    try:
        deadline = time.monotonic() + _START_S
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise DataError(f"MLflow's pages did not start: {words.last()}")
            time.sleep(0.1)
        print(f"MLflow is at {address}{page} (Ctrl-C ends it)", flush=True)
        server.wait()
        raise DataError(f"MLflow's pages ended: {words.last()}")
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2.0) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and the workers it started."""
    for sign, wait_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=wait_s)
            return


class _Tail:
    """Reads what a process says in the background and keeps the last lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        import collections
        import threading

        self._lines: collections.deque[str] = collections.deque(maxlen=20)
        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.decode(errors="replace").strip())

    def last(self) -> str:
        """Return the last line that says something."""
        self._thread.join(timeout=1.0)
        said = [line for line in self._lines if line]
        return said[-1] if said else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())
