"""The notebooks of the documentation, run from top to bottom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
# In a process of its own: the kernel's libraries warn of things that are theirs.
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def cells_of(notebook: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return cells


def run_notebook(notebook: Path, folder: Path, **environment: str) -> tuple[str, int]:
    """Return the text that a run printed, and how many pictures it drew; skip without nbclient.

    A copy with the outputs is left in `folder`.
    """
    pytest.importorskip("nbclient")
    done = folder / "done.ipynb"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXECUTE, str(notebook), str(done)],
        env={**os.environ, "IPYTHONDIR": str(folder / "ipython"), **environment},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    outputs = [output for cell in cells_of(done) for output in cell.get("outputs", [])]
    text = "".join("".join(output.get("text", "")) for output in outputs)
    return text, sum("image/png" in output.get("data", {}) for output in outputs)
