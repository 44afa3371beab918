"""The notebook that makes a plain script faster runs, on few samples, and holds what it claims."""

from __future__ import annotations

from pathlib import Path

from tests.bench.notebooks import NOTEBOOKS, cells_of, run_notebook

NOTEBOOK = NOTEBOOKS / "faster_script.ipynb"


def test_the_notebook_is_committed_without_outputs() -> None:
    for cell in cells_of(NOTEBOOK):
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_the_notebook_goes_from_a_plain_script_to_a_fast_one(tmp_path: Path) -> None:
    text, num_pictures = run_notebook(
        NOTEBOOK, tmp_path, CHIRPID_NOTEBOOK_SAMPLES="160",
        OMP_NUM_THREADS="1",  # the suite has the other cores
    )  # fmt: skip
    assert num_pictures == 1
    losses = [line.split()[-1] for line in text.splitlines() if "samples/s, waiting" in line]
    assert len(losses) == 3
    assert len(set(losses)) == 1, "each way trains the same"
    assert "2 batches before the stop, 3 after: all 5 as expected" in text
    assert text.count("dataset: 160 samples, 5 batches") == 2, "both loaders are explained"
    assert "columns in memory, copied by row" in text
