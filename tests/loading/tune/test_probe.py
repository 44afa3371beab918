"""What a probe asks of the disk."""

from __future__ import annotations

from pathlib import Path

from chirpid.loading.tune.probe import write_seconds


def test_writing_is_timed_and_leaves_nothing(tmp_path: Path) -> None:
    assert 0 < write_seconds(tmp_path / "caches", 1000) < 1
    assert list((tmp_path / "caches").iterdir()) == []


def test_a_place_that_cannot_be_written_to_costs_the_probe_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert write_seconds(tmp_path / "file" / "caches", 1000) == 0.0
