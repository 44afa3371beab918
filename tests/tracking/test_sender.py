"""What a sender asks of a store, with a store that only takes notes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from chirpid.tracking import open_tracker
from chirpid.tracking.journal import JournalWriter
from chirpid.tracking.sender import Sender, target_of
from chirpid.tracking.sync import send_folder
from chirpid.tracking.system import SYSTEM_JOURNAL


class Notes:
    def __init__(self) -> None:
        self.status: dict[str, str] = {}
        self.num_points: list[int] = []

    def find_or_create_run(self, run: str, name: str, **_: object) -> str:
        self.status[name] = "RUNNING"
        return name

    def end_run(self, run_id: str, status: str, end_ms: int) -> None:
        self.status[run_id] = status

    def log(self, run_id: str, *, metrics: list[object], **_: Mapping[str, str]) -> list[str]:
        self.num_points.append(len(metrics))
        return []


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    found = Notes()
    monkeypatch.setattr(Sender, "store", lambda self: found)
    return found


def test_a_run_whose_sender_died_with_it_is_ended_by_sync(tmp_path: Path, notes: Notes) -> None:
    open_tracker("mlflow", folder=tmp_path, outputs=tmp_path, send=False).start_run("run")
    Sender(tmp_path, target_of(tmp_path)).drain()
    assert notes.status == {"run": "RUNNING"}
    assert send_folder(tmp_path).state == "up to date"
    assert notes.status == {"run": "KILLED"}


def test_long_notes_of_the_machine_go_in_parts(tmp_path: Path, notes: Notes) -> None:
    tracker = open_tracker("mlflow", folder=tmp_path, outputs=tmp_path, send=False)
    run = tracker.start_run("run")
    machine = JournalWriter(tmp_path / SYSTEM_JOURNAL)
    for step in range(1201):
        machine.append({"kind": "metrics", "run": run, "step": step, "values": {"a": 1.0}})
    machine.close()
    sender = Sender(tmp_path, target_of(tmp_path))
    sender.drain()
    assert notes.num_points == [500, 500, 201]
    assert sender.behind() == 0
