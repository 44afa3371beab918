"""The command line as a user types it, on a set so small that a whole run takes a second."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chirpid.cli.main import main
from chirpid.config.store import load

TINY = (
    "dataset=csv", "segment.duration_s=1", "segment.min_tail_s=0.2",
    "frontend.sample_rate_hz=16000", "frontend.fft_samples=512", "frontend.hop_samples=256",
    "frontend.num_mels=24", "frontend.fmin_hz=50", "frontend.fmax_hz=8000",
    "augment.time_mask_s=0.2", "augment.time_shift_s=0.3", "loader.batch_size=4",
    "cv.num_folds=2", "engine.epochs=2", "engine.bootstrap_samples=50",
    "engine.num_threads=1", "engine.device=cpu",
)  # fmt: skip
OFF = "tracking=off"
PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on stderr: an error has no more, and never a traceback."""
        assert "Traceback" not in self.out + self.err
        (line,) = self.err.splitlines()
        return line


def call(*argv: str) -> Ended:
    """Run `chirpid` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(argv))
    return Ended(code, out.getvalue(), err.getvalue())


def train(root: Path, outputs: Path, *more: str) -> Ended:
    """Train on a csv set in this process, untracked unless `more` says otherwise."""
    return call(*command(root, outputs, *more))


def command(root: Path, outputs: Path, *more: str) -> list[str]:
    """Return the arguments of `chirpid` for a run on a csv set, with a tiny network by default."""
    if not any(text.startswith("model=") for text in more):
        more = ("model.params.width=4", *more)
    return ["train", *TINY, OFF, f"dataset.root={root}", f"paths.outputs={outputs}", *more]


def start(root: Path, outputs: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
    """Start the same in a process of its own."""
    path = os.pathsep.join([str(PACKAGE), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "chirpid.cli.main", *command(root, outputs, *more)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        **options,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], timeout_s: float = 90) -> Ended:
    """Wait for a process."""
    out, err = process.communicate(timeout=timeout_s)
    return Ended(process.returncode, out, err)


def run_folders(outputs: Path) -> list[Path]:
    """Return the run folders, the oldest first."""
    return sorted((outputs / "runs").glob("*"))


def run_folder(outputs: Path) -> Path:
    """Return the only run folder."""
    (folder,) = run_folders(outputs)
    return folder


def results_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of all folds' models."""
    return {
        f"{path.parent.name}/{name}": value
        for path in sorted(folder.glob("folds/*/model.pt"))
        for name, value in torch.load(path)["state"].items()
    }


def same_run(a: Path, b: Path) -> bool:
    """Return whether two runs gave the same predictions, metrics and weights, to the bit."""
    left, right = weights_of(a), weights_of(b)
    return (
        len(left) > 0
        and left.keys() == right.keys()
        and all(torch.equal(left[name], right[name]) for name in left)
        and (a / "predictions.csv").read_bytes() == (b / "predictions.csv").read_bytes()
        and (a / "splits.csv").read_bytes() == (b / "splits.csv").read_bytes()
        and results_of(a)["metrics"] == results_of(b)["metrics"]
    )


def settings_of(folder: Path) -> Any:
    """Return what config.yaml of a run folder resolves to."""
    return load(folder / "config.yaml")
