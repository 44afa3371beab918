"""The notebook that makes a plain script faster runs, on few samples, and holds what it claims."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.test_notebook import EXECUTE

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "faster_script.ipynb"


def test_the_notebook_is_committed_without_outputs() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_the_notebook_goes_from_a_plain_script_to_a_fast_one(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    environment = {
        **os.environ,
        "CHIRPID_NOTEBOOK_SAMPLES": "160",
        "OMP_NUM_THREADS": "1",  # the suite has the other cores
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
    text = "".join("".join(o.get("text", "")) for o in outputs)
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 1
    losses = [line.split()[-1] for line in text.splitlines() if "samples/s, waiting" in line]
    assert len(losses) == 3
    assert len(set(losses)) == 1, "each way trains the same"
    assert "2 batches before the stop, 3 after: all 5 as expected" in text
    assert text.count("dataset: 160 samples, 5 batches") == 2, "both loaders are explained"
    assert "columns in memory, copied by row" in text
