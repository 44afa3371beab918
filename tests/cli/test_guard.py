from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from chirpid.cli.guard import run_guarded
from chirpid.errors import ConfigError, DataError, Interrupted, StorageError, TrainingError


def failing(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (ConfigError("a"), 2, "config error: a"),
        (DataError("a"), 2, "data error: a"),
        (StorageError("a"), 1, "storage error: a"),
        (TrainingError("a"), 1, "training error: a"),
        (Interrupted("a"), 130, "interrupted: a"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("saved"), 130, "interrupted: saved"),
        (OSError(errno.ENOSPC, "No space", "f"), 1, "storage error: f: the disk is full."),
        (PermissionError(errno.EACCES, "no", "f"), 1, "storage error: f: permission denied."),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_an_exit_code(
    error: BaseException, exit_code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_guarded(lambda: failing(error)) == exit_code
    captured = capsys.readouterr()
    assert captured.err.startswith(line.rstrip("."))
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("bug", [KeyError("x"), FileNotFoundError(errno.ENOENT, "x"), TypeError()])
def test_a_bug_keeps_its_traceback(bug: Exception) -> None:
    with pytest.raises(type(bug)):
        run_guarded(lambda: failing(bug))


def test_success_is_zero() -> None:
    assert run_guarded(lambda: 0) == 0


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from chirpid.cli.guard import run_guarded\n"
        "def work():\n"
        "    for _ in range(100000): print('x' * 100)\n"
        "    return 0\n"
        "sys.exit(run_guarded(work))\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    assert writer.stdout is not None
    assert writer.stderr is not None
    with writer, writer.stdout, writer.stderr:
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == b""
        assert writer.wait(timeout=30) == 0
