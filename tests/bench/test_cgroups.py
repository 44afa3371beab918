"""Control groups go again, however making them ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chirpid.bench.auto import cgroups
from chirpid.bench.auto.workloads import SlowDisk
from chirpid.errors import BenchmarkError


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit_that_cannot_be_set_leaves_no_group_behind(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    parents = [tmp_path] if version == 2 else [tmp_path / "blkio", tmp_path / "memory"]
    for folder in parents:
        folder.mkdir(exist_ok=True)
    if version == 2:
        (tmp_path / "cgroup.controllers").touch()
    limit, gone = SlowDisk(10**6, 10**6), tmp_path / "gone"
    with (
        pytest.raises(BenchmarkError, match="needs control groups"),
        cgroups.held_to(limit, os.getpid(), gone),
    ):
        pass
    assert not [path for folder in parents for path in folder.glob("chirpid-bench-*")]
