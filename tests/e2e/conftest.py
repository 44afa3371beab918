"""Whole runs in this process: one thread, and torch left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.forks import Parent
from tests.e2e.line import LONG, leave_out_plots, run_folder, train
from tests.one_thread import _one_thread  # noqa: F401 - a fixture
from tests.sounds import write_set


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings: three classes by four people."""
    return write_set(tmp_path_factory.mktemp("recordings") / "set")


@pytest.fixture(scope="session")
def straight(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    outputs = tmp_path_factory.mktemp("straight")
    ended = train(root, outputs)
    assert ended.code == 0, ended.err
    return run_folder(outputs)


@pytest.fixture(scope="session")
def long_run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `LONG` that nothing disturbed."""
    outputs = tmp_path_factory.mktemp("long")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_plots(patch)
        found = train(root, outputs, *LONG)
    assert found.code == 0, found.err
    return run_folder(outputs)


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    """What starts `chirpid` in processes of their own."""
    parent = Parent(tmp_path_factory.mktemp("forks"))
    yield parent
    parent.close()


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_plots(monkeypatch)
