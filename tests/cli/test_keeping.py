"""A run that memory runs short in, from its settings to its scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.loading import memory
from chirpid.storage.caches import list_caches
from tests.loading.test_memory import Told
from tests.page_commands import call

COMMAND = "python train.py mode=eager cv.folds=[0] tracking=off loader.adapt=true"
LINES = [
    "memory: 20.0 MiB of the container's 1.0 GiB are left: the rows go from RAM to the disk",
    "loader: mode eager -> cached: frees ",
    "memory: 20.0 MiB of the container's 1.0 GiB are left, and loading holds no more than it must",
]


def predictions(place: Path, free_mib: float, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return what a run with so much memory left predicts, and what it prints."""
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(memory, "MemoryProbe", lambda: Told(free_mib))
    ended = call(COMMAND)
    assert ended.code == 0, ended.err
    (run,) = (place / "outputs" / "runs").iterdir()
    return (run / "predictions.csv").read_text(), ended.out


def test_a_run_short_of_memory_steps_down_and_predicts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty, told = predictions(tmp_path / "plenty", 500, monkeypatch)
    assert not [line for line in told.splitlines() if line.startswith(("memory: ", "loader: "))]
    assert list_caches(tmp_path / "plenty/outputs/cache") == []
    short, told = predictions(tmp_path / "short", 20, monkeypatch)
    lines = [line for line in told.splitlines() if line.startswith(("memory: ", "loader: "))]
    assert len(lines) == len(LINES)
    assert all(line.startswith(begin) for line, begin in zip(lines, LINES, strict=True))
    assert [entry.complete for entry in list_caches(tmp_path / "short/outputs/cache")] == [True]
    assert short == plenty
    (advice,) = (line for line in told.splitlines() if line.startswith("advice: "))
    assert "under mode=cached, inline, to which loading had been changed" in advice
