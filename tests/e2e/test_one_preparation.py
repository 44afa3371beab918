"""Recordings are decoded once for all folds, epochs and jobs of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.data.rows import RowMaker
from tests.e2e.line import train


@pytest.fixture
def rows_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The segments that were decoded, whoever asked for them."""
    made: list[int] = []
    inner = RowMaker._make

    def counted(self: RowMaker, index: int, *arguments: object, **more: object) -> None:
        made.append(index)
        inner(self, index, *arguments, **more)

    monkeypatch.setattr(RowMaker, "_make", counted)
    return made


@pytest.mark.usefixtures("no_plots")
def test_a_sweep_over_folds_and_epochs_decodes_each_segment_once(
    root: Path, tmp_path: Path, rows_made: list[int]
) -> None:
    swept = train(root, tmp_path, "-m", "mode=cached", "seed=1,2")
    assert swept.code == 0, swept.err
    assert swept.out.count("fold 1 done") == 2, "two jobs of two folds"
    num_segments = max(rows_made) + 1
    assert sorted(rows_made) == list(range(num_segments))
    assert swept.out.count(f"built {num_segments} segments") == 1

    rows_made.clear()
    eager = train(root, tmp_path, "mode=eager")
    assert eager.code == 0, eager.err
    assert rows_made == []
    assert ": nothing is decoded" in eager.out


@pytest.mark.usefixtures("no_plots")
def test_epochs_and_folds_of_an_eager_run_decode_each_segment_once(
    root: Path, tmp_path: Path, rows_made: list[int]
) -> None:
    assert train(root, tmp_path, "mode=eager").code == 0
    assert sorted(rows_made) == list(range(max(rows_made) + 1))
