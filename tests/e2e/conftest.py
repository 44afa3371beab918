"""Whole runs in this process: one thread, and torch left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.e2e.line import run_folder, train
from tests.sounds import write_set


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings: three classes by four people."""
    return write_set(tmp_path_factory.mktemp("recordings") / "set")


@pytest.fixture(scope="session")
def straight(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    outputs = tmp_path_factory.mktemp("straight")
    ended = train(root, outputs)
    assert ended.code == 0, ended.err
    return run_folder(outputs)


def leave_out_plots(patch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which is most of the time of a tiny run and is looked at elsewhere."""
    from chirpid.cli import report
    from chirpid.reports import tracked

    for name in ("confusion_matrix", "learning_curves", "folds_overview", "spectrogram_sheet"):
        patch.setattr(report, name, lambda *args, **options: None)
    patch.setattr(tracked, "loader_timeline", lambda *args, **options: None)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_plots(monkeypatch)
