"""The notebook runs from top to bottom on a small set, and is committed without outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chirpid.audio.encode import write_audio
from tests.bench.notebooks import NOTEBOOKS, cells_of, run_notebook

NOTEBOOK = NOTEBOOKS / "loader_benchmark.ipynb"
RATE_HZ = 32000


def write_set(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(12):
        place = folder / f"bird {number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        wave = 0.1 * generator.standard_normal(RATE_HZ).astype(np.float32)
        write_audio(place / f"{number}.wav", wave, RATE_HZ, subtype="PCM_16")


def test_the_notebook_is_committed_without_outputs() -> None:
    for cell in cells_of(NOTEBOOK):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_the_notebook_runs_on_recordings_of_ones_own(tmp_path: Path) -> None:
    write_set(tmp_path / "birds")
    text, num_pictures = run_notebook(
        NOTEBOOK, tmp_path, CHIRPID_NOTEBOOK_FOLDER=str(tmp_path / "birds"),
        CHIRPID_NOTEBOOK_DURATION_S="0.5", CHIRPID_NOTEBOOK_BATCH_SIZE="4",
    )  # fmt: skip
    assert num_pictures == 4
    assert "24 segments of 2 classes" in text
    for mode in ("lazy", "eager", "cached", "streaming"):
        assert text.count(f"\n{mode} ") + text.startswith(mode) >= 1
