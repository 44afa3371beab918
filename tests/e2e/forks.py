"""`chirpid` in processes of their own without the seconds that importing torch takes each time.

One process imports all that a training needs and forks one for each command. The forks are
processes like any other: they hear signals, can be killed, have workers, and end by themselves.
They draw no plots.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class Fork:
    """A `chirpid` that was started; the names are those of `subprocess.Popen`."""

    def __init__(self, parent: Parent, pid: int, place: Path) -> None:
        self.pid = pid
        self._parent, self._place = parent, place

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout_s: float) -> tuple[int, str, str]:
        """Wait for the end; return the exit code, negative after a signal, and what was said."""
        code = self._parent.ask({"wait": self.pid, "timeout_s": timeout_s})
        if code is None:
            os.kill(self.pid, 9)
            self._parent.ask({"wait": self.pid, "timeout_s": timeout_s})
        said = [(self._place / name).read_text(encoding="utf-8") for name in ("out", "err")]
        assert code is not None, f"it did not end in {timeout_s} s: {said}"
        return code, *said


class Parent:
    """The process that forks."""

    def __init__(self, place: Path) -> None:
        self._place, self._num = place, 0
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        quiet = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.forks"], cwd=ROOT, env={**os.environ, **quiet},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, argv: Sequence[str], *, start_new_session: bool = False) -> Fork:
        """Start `chirpid` with these arguments."""
        self._num += 1
        place = self._place / str(self._num)
        place.mkdir()
        asked = {"argv": list(argv), "place": str(place), "cwd": os.getcwd(),
                 "new_session": start_new_session}  # fmt: skip
        return Fork(self, self.ask(asked), place)

    def ask(self, question: Mapping[str, object]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=30)


def serve() -> int:
    """Answer questions until there are no more; in a fork, run the command and return its code."""
    from tests.e2e.line import leave_out_plots

    import_all()
    leave_out_plots(pytest.MonkeyPatch())  # until this process ends
    # By hand: a reader of lines would read ahead, and a fork would go on with what was read.
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if "wait" in asked:
            tell(wait(asked["wait"], asked["timeout_s"]))
        elif pid := os.fork():
            tell(pid)
        else:
            return become(asked)
    return 0


def import_all() -> None:
    """Import what a training does, sooner or later; mlflow is left to the process that sends."""
    import torch._dynamo  # with the first step of an optimiser
    import torch._inductor.config  # noqa: F401

    import chirpid.build
    import chirpid.cli.session
    import chirpid.cli.sweep
    import chirpid.reports.tracked  # noqa: F401


def tell(value: object) -> None:
    print(json.dumps(value), flush=True)


def wait(pid: int, timeout_s: float) -> int | None:
    end = time.monotonic() + timeout_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def become(asked: dict[str, Any]) -> int:
    from chirpid.cli.main import main

    if asked["new_session"]:
        os.setsid()
    os.chdir(asked["cwd"])
    files = (
        (os.devnull, os.O_RDONLY),
        *((f"{asked['place']}/{name}", os.O_WRONLY | os.O_CREAT) for name in ("out", "err")),
    )
    for number, (path, flags) in enumerate(files):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["chirpid", *asked["argv"]]
    return main(asked["argv"])


if __name__ == "__main__":
    sys.exit(serve())
