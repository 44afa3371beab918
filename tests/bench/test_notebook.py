"""The notebook runs from top to bottom on a small set, and is committed without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chirpid.audio.encode import write_audio

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "loader_benchmark.ipynb"
RATE_HZ = 32000
# In a process of its own: the kernel's libraries warn of things that are theirs.
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def write_set(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(12):
        place = folder / f"bird {number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        wave = 0.1 * generator.standard_normal(RATE_HZ).astype(np.float32)
        write_audio(place / f"{number}.wav", wave, RATE_HZ, subtype="PCM_16")


def test_the_notebook_is_committed_without_outputs() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_the_notebook_runs_on_recordings_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    write_set(tmp_path / "birds")
    environment = {
        **os.environ,
        "CHIRPID_NOTEBOOK_FOLDER": str(tmp_path / "birds"),
        "CHIRPID_NOTEBOOK_DURATION_S": "0.5",
        "CHIRPID_NOTEBOOK_BATCH_SIZE": "4",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    done = tmp_path / "done.ipynb"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXECUTE, str(NOTEBOOK), str(done)],
        env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    outputs = [
        output
        for cell in json.loads(done.read_text(encoding="utf-8"))["cells"]
        for output in cell.get("outputs", [])
    ]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    text = "".join("".join(o.get("text", "")) for o in outputs)
    assert len(pictures) == 4
    assert "24 segments of 2 classes" in text
    for mode in ("lazy", "eager", "cached", "streaming"):
        assert text.count(f"\n{mode} ") + text.startswith(mode) >= 1
