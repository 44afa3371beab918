"""Builds that are killed, raced or not allowed: whole or not there, and never made twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chirpid.storage import rowstore, shards
from tests.storage.builder import LAYOUT, expected

KINDS = ("rows", "shards")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a process of its own has built, raced and killed; `said` is what it said.

    One process for all: importing torch costs more than all builds.
    """
    folder = tmp_path_factory.mktemp("builds")
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    # pytest keeps its folders from other users, one of which the process becomes in the end.
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o055)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.storage.builder", str(folder)],
        capture_output=True, text=True, timeout=200, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (folder / "said").write_text(ended.stdout)
    return folder


def said(place: Path) -> list[str]:
    return (place / "said").read_text().splitlines()


def rows_of(kind: str, folder: Path) -> torch.Tensor:
    if kind == "rows":
        return rowstore.open_rows(folder, LAYOUT)
    return torch.cat([shards.read_shard(folder, LAYOUT, s) for s in range(LAYOUT.num_chunks)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_build_killed_at_any_moment_leaves_nothing_half_read_and_goes_on(
    place: Path, kind: str
) -> None:
    # That nothing finished is made again and nothing half is read, the process itself asserts.
    kills = int(said(place)[2 * KINDS.index(kind)])
    assert kills >= 2, "the kills must have come in the middle"
    folder = place / f"killed-{kind}"
    assert torch.equal(rows_of(kind, folder), expected())
    assert not list(folder.glob(".*.tmp")), "leftovers of the killed are removed"
    for file in (place / f"straight-{kind}").glob("*.bin"):
        assert (folder / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("kind", KINDS)
def test_two_builders_at_once_build_once(place: Path, kind: str) -> None:
    made = [int(chunk) for chunk in said(place)[1 + 2 * KINDS.index(kind)].split()]
    assert made == list(range(LAYOUT.num_chunks))
    assert torch.equal(rows_of(kind, place / f"raced-{kind}"), expected())


def test_a_folder_that_may_not_be_written_gives_one_line(place: Path) -> None:
    lines = said(place)[4:]
    assert len(lines) == 2
    assert all(line.startswith("storage error: Not allowed to write") for line in lines)
    assert not list((place / "closed").iterdir())
