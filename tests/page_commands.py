"""The commands of the pages, run in this process and made short."""

from __future__ import annotations

import contextlib
import io
import shlex
from dataclasses import dataclass

import pytest

from chirpid.cli import main as chirpid_command
from chirpid.cli import train as train_command

FAST = (
    "engine.epochs=2", "engine.max_batches=1", "engine.bootstrap_samples=20",
    "segment.duration_s=3", "segment.min_tail_s=0.5", "frontend.num_mels=16",
    "engine.num_threads=1",
)  # fmt: skip
"""Added to every training, so that it takes a second: fewer epochs, batches and bands, one thread
(as long as other tests run beside this one, more threads take turns)."""
DEMO = (
    "dataset.demo.num_species=2", "dataset.demo.num_recordists=5", "dataset.demo.min_s=1",
    "dataset.demo.recordings_per_species=5", "dataset.demo.max_s=2",
)  # fmt: skip
"""Added where the demo set is used: ten recordings."""
TRACKED = ("python train.py", "tracking.uri=")
"""Commands that keep tracking; to others tracking=off is added, since MLflow starts in seconds."""
DRAWN = ("python train.py",)
"""Trainings that draw their plots; for others, nothing is drawn, which is half of their time."""


def with_fast(command: str) -> list[str]:
    """Return the words of a training command, with what makes it short."""
    words = shlex.split(command)
    if any(flag in words for flag in ("--help", "--cfg", "--version")):
        return words
    words += FAST
    if uses_demo(command):
        words += DEMO
    if command != "python train.py" and "cv.num_folds" not in command:
        words.append("cv.folds=[0]")
    if not any(command == kept or (kept[-1] == "=" and kept in command) for kept in TRACKED):
        words.append("tracking=off")
    return list(dict.fromkeys(words))


def uses_demo(command: str) -> bool:
    return "dataset=" not in command.replace("dataset=demo", "") and "experiment=" not in command


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def call(command: str) -> Ended:
    """Run a command of a page in this process; torch alone takes seconds to import in another."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as plots,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        if command not in DRAWN:
            plots.setattr("matplotlib.figure.Figure.savefig", lambda *args, **kwargs: None)
        if command.startswith("python train.py"):
            code = train_command.main(with_fast(command)[2:])
        elif command.startswith("chirpid profile "):
            words = [*with_fast(command)[1:], "--seconds", "1"]
            code = chirpid_command.main(words)
        elif command.startswith("chirpid shard "):  # what is trained on it is made short, too
            code = chirpid_command.main(with_fast(command)[1:])
        elif command.startswith("chirpid "):
            code = chirpid_command.main(shlex.split(command)[1:])
        else:
            pytest.fail(f"the tests cannot run: {command}")
    return Ended(code, out.getvalue(), err.getvalue())
