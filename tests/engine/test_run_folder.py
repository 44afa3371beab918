"""A run folder is found again by its settings, held by one process, and true about its state."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chirpid.engine.run_folder import RunFolder, open_run_folder, read_state
from chirpid.errors import ConfigError, StorageError


def opened(outputs: Path, resume: str | None = None, config_hash: str = "a") -> RunFolder:
    return open_run_folder(outputs, name="run", config_hash=config_hash, resume=resume)


def left(outputs: Path, status: str, config_hash: str = "a") -> Path:
    """Leave a folder behind in a state."""
    folder = opened(outputs, config_hash=config_hash)
    folder.check_data("split", "data")
    folder.set_status(status)
    folder.close()
    return folder.path


def test_names_within_one_second_do_not_collide(tmp_path: Path) -> None:
    folders = [opened(tmp_path) for _ in range(5)]
    assert len({folder.path for folder in folders}) == 5


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_auto_finds_the_latest_unfinished_run_of_the_same_settings(
    tmp_path: Path, status: str
) -> None:
    left(tmp_path, status)
    wanted = left(tmp_path, status)
    left(tmp_path, status, config_hash="b")
    left(tmp_path, "finished")
    found = opened(tmp_path, "auto")
    assert found.resumed
    assert found.path == wanted


def test_auto_leaves_finished_and_held_runs_alone(tmp_path: Path) -> None:
    left(tmp_path, "finished")
    held = opened(tmp_path)
    held.set_status("running")
    found = opened(tmp_path, "auto")
    assert not found.resumed
    assert found.path != held.path


def test_a_run_that_ends_while_it_is_taken_is_not_gone_on_with(tmp_path: Path) -> None:
    """Its state is read once more after the lock is had."""
    path = left(tmp_path, "running")
    stale = read_state(path)
    assert stale is not None
    (path / "state.json").write_text(
        (path / "state.json").read_text().replace("running", "finished")
    )
    assert RunFolder(path, stale, resumed=True).state.status == "finished"


def test_time_adds_up_over_attempts(tmp_path: Path) -> None:
    first = opened(tmp_path)
    time.sleep(0.05)
    first.set_status("interrupted")
    first.close()
    second = opened(tmp_path, "auto")
    assert second.wall_s >= 0.05
    time.sleep(0.05)
    second.set_status("running")
    state = read_state(second.path)
    assert state is not None
    assert state.wall_s >= 0.1


@pytest.mark.parametrize("changed", [("other", "data"), ("split", "other")])
def test_other_data_are_refused_when_resumed(tmp_path: Path, changed: tuple[str, str]) -> None:
    left(tmp_path, "interrupted")
    folder = opened(tmp_path, "auto")
    with pytest.raises(ConfigError, match="changed since"):
        folder.check_data(*changed)
    folder.check_data("split", "data")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": "running"}', '{"future": 1}'])
def test_a_folder_without_a_readable_state_is_no_run(tmp_path: Path, text: str) -> None:
    path = left(tmp_path, "running")
    (path / "state.json").write_text(text)
    assert not opened(tmp_path, "auto").resumed
    with pytest.raises(ConfigError, match="not a run folder"):
        opened(tmp_path, str(path))


def test_a_named_run_must_be_unfinished_free_and_of_these_settings(tmp_path: Path) -> None:
    path = left(tmp_path, "interrupted")
    with pytest.raises(ConfigError, match="other settings"):
        opened(tmp_path, str(path), config_hash="b")
    held = opened(tmp_path, str(path))
    with pytest.raises(StorageError, match="in use"):
        opened(tmp_path, str(path))
    held.set_status("finished")
    held.close()
    with pytest.raises(ConfigError, match="finished"):
        opened(tmp_path, str(path))


def test_what_a_killed_writer_left_is_removed_on_resuming(tmp_path: Path) -> None:
    path = left(tmp_path, "running")
    (path / "folds/0").mkdir(parents=True)
    (path / "folds/0/.checkpoint.pt.1.abc.tmp").write_bytes(b"half")
    (path / "folds/0/checkpoint.pt").write_bytes(b"whole")
    opened(tmp_path, "auto")
    assert [p.name for p in (path / "folds/0").iterdir()] == ["checkpoint.pt"]
