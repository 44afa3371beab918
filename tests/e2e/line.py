"""The command line as a user types it, on a set so small that a whole run takes a second."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from chirpid.cli.main import main
from chirpid.config.store import load
from tests.e2e.forks import Fork, Parent

TINY = (
    "dataset=csv", "segment.duration_s=1", "segment.min_tail_s=0.2",
    "frontend.sample_rate_hz=16000", "frontend.fft_samples=512", "frontend.hop_samples=256",
    "frontend.num_mels=24", "frontend.fmin_hz=50", "frontend.fmax_hz=8000",
    "augment.time_mask_s=0.2", "augment.time_shift_s=0.3", "loader.batch_size=4",
    "cv.num_folds=2", "engine.epochs=2", "engine.bootstrap_samples=50",
    "engine.num_threads=1", "engine.device=cpu",
)  # fmt: skip
LONG = ("engine.epochs=20", "augment=none", "optim.warmup_epochs=0")
"""Added where a run has to last until it is interrupted."""
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


def start(forks: Parent, root: Path, outputs: Path, *more: str, **options: bool) -> Fork:
    """Start the same in a process of its own."""
    return forks.start(command(root, outputs, *more), **options)


def ended(process: Fork, timeout_s: float = 90) -> Ended:
    """Wait for a process."""
    return Ended(*process.communicate(timeout_s))


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


def leave_out_plots(patch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which is most of the time of a tiny run and is looked at elsewhere."""
    from chirpid.cli import report, sweep_report
    from chirpid.reports import tracked

    for name in ("confusion_matrix", "learning_curves", "folds_overview", "spectrogram_sheet"):
        patch.setattr(report, name, lambda *args, **options: None)
    patch.setattr(tracked, "loader_timeline", lambda *args, **options: None)
    patch.setattr(sweep_report, "sweep_speed", lambda *args, **options: None)
