"""Sends a journal to MLflow, in a process of its own beside the training.

A process, not a thread: importing mlflow and talking to it would take the interpreter from the
training loop, and forking loader workers beside a running thread is not safe. The two share only
files: the journal, and the record of what was sent. All sending is idempotent, so that a sender
may be killed at any moment and another one goes on.

    python -m chirpid.tracking.sender FOLDER PARENT_PID
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from chirpid.tracking.journal import JOURNAL, Event, read_events, whole_bytes
from chirpid.tracking.parcel import Parcel
from chirpid.tracking.sent import LOCK, Sent, load_sent, locked, save_sent
from chirpid.tracking.system import SYSTEM_JOURNAL, SystemSampler
from chirpid.tracking.target import Target

if TYPE_CHECKING:
    from chirpid.tracking.mlflow_store import MlflowStore

_POLL_S = 0.1
_EVENTS_AT_ONCE = 500
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0


def target_of(folder: Path) -> Target:
    """Return where a journal wants to go, by its last opening.

    Raises:
        ValueError: the journal says nothing about it.
    """
    opened = [e for e, _ in read_events(folder / JOURNAL) if e and e["kind"] == "open"]
    if not opened:
        raise ValueError(f"{folder / JOURNAL} has no opening line.")
    last = opened[-1]
    outputs = Path(os.path.normpath(folder / last["outputs"]))
    return Target(outputs, last["uri"], last["experiment"], last["timeout_s"])


def open_runs(folder: Path) -> list[str]:
    """Return our ids of the runs that the journal has started and not ended."""
    runs: dict[str, bool] = {}
    for event, _ in read_events(folder / JOURNAL):
        if event and event["kind"] in ("start", "resume", "end"):
            runs[event["run"]] = event["kind"] != "end"
    return [run for run, is_open in runs.items() if is_open]


class Sender:
    """Brings one journal to one target. Raises mlflow_store.Away where that fails for now."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.folder = folder
        self.target = target
        self.sent: Sent = load_sent(folder, target.key)
        self._store: MlflowStore | None = None
        self._parcels: dict[str, Parcel] = {}

    def store(self) -> MlflowStore:
        if self._store is None:
            from chirpid.tracking.mlflow_store import MlflowStore

            self._store = MlflowStore(self.target)
        return self._store

    def behind(self) -> int:
        """Return the bytes of whole lines that are not sent yet."""
        system = whole_bytes(self.folder / SYSTEM_JOURNAL) - self.sent.system
        return self._behind() + max(0, system)

    def _behind(self) -> int:
        return whole_bytes(self.folder / JOURNAL) - self.sent.position

    def drain(self) -> None:
        """Send all whole lines that are in the journals now."""
        while self._behind() > 0:
            self._parcels.clear()  # of an attempt that failed half-way; its lines come again
            position, count = self.sent.position, 0
            for event, end in read_events(self.folder / JOURNAL, self.sent.position):
                position, count = end, count + 1
                saved = self._take(event, end)
                if saved or count >= _EVENTS_AT_ONCE:
                    break
            self._deliver()
            self._save(position)
        self._drain_system()

    def _drain_system(self) -> None:
        """Send what was noted of the machine, of runs that are known by now."""
        path = self.folder / SYSTEM_JOURNAL
        while whole_bytes(path) > self.sent.system:
            self._parcels.clear()
            end = self.sent.system
            for event, position in islice(read_events(path, end), _EVENTS_AT_ONCE):
                end = position
                if event is not None and event["run"] in self.sent.runs:
                    self._parcels.setdefault(event["run"], Parcel()).add(event)
            self._deliver()
            self.sent.system = end
            self._save(self.sent.position)

    def kill_open_runs(self) -> None:
        """Mark runs as killed whose training ended without a word."""
        now_ms = time.time_ns() // 1_000_000
        for run in open_runs(self.folder):
            if run in self.sent.runs:
                self._try(partial(self.store().end_run, self.sent.runs[run], "KILLED", now_ms))

    def _save(self, position: int) -> None:
        self.sent.position = position
        self.sent.trouble = None
        save_sent(self.folder, self.target.key, self.sent)

    def _take(self, event: Event | None, end: int) -> bool:
        """Handle one event; return whether progress should be saved right after it."""
        if event is None:
            self._note_refusal("a damaged line of the journal")
            return False
        kind, run = event["kind"], event.get("run", "")
        if kind == "start":
            self._start(event)
        elif kind in ("open", "close"):
            return False
        elif run not in self.sent.runs:
            self._note_refusal(f"{kind} of a run that was never started")
        elif kind in ("params", "tags", "metrics", "series"):
            self._parcels.setdefault(run, Parcel()).add(event)
        else:
            self._deliver()
            self._try(partial(self._act, self.sent.runs[run], event))
            return bool(kind == "file")
        return False

    def _start(self, event: Event) -> None:
        parent = self.sent.runs.get(event["parent"] or "")
        tags = dict(event["tags"]) | ({"mlflow.parentRunId": parent} if parent else {})
        self.sent.runs[event["run"]] = self.store().find_or_create_run(
            event["run"], event["name"], tags=tags, start_ms=event["t"], shared=event["shared"]
        )

    def _act(self, run_id: str, event: Event) -> None:
        store = self.store()
        if event["kind"] == "resume":
            store.set_running(run_id)
        elif event["kind"] == "end":
            store.end_run(run_id, event["status"], event["t"])
        elif event["kind"] == "view":
            store.save_view(run_id, event["name"], event["charts"])
        elif event["kind"] == "file":
            path = self.folder / event["path"]  # an absolute path stays what it is
            if path.is_file():
                store.log_file(run_id, path, event["folder"])
            else:
                self._note_refusal(f"file {path} is gone")

    def _deliver(self) -> None:
        for run, parcel in self._parcels.items():
            for line in self.store().log(
                self.sent.runs[run], params=parcel.params, tags=parcel.tags, metrics=parcel.metrics
            ):
                self._note_refusal(line)
        self._parcels.clear()

    def _try(self, act: Callable[[], None]) -> None:
        from chirpid.tracking.mlflow_store import Refused

        try:
            act()
        except Refused as error:
            self._note_refusal(str(error))

    def _note_refusal(self, line: str) -> None:
        self.sent.refused = self.sent.refused or line


def _sampler(folder: Path, parent: int) -> SystemSampler | None:
    """Return the thread that watches the machine, started, if the journal asks for one."""
    opened = [e for e, _ in read_events(folder / JOURNAL) if e and e["kind"] == "open"]
    every_s = opened[-1].get("system_s") if opened else None
    if every_s is None:
        return None
    sampler = SystemSampler(folder, parent, target_of(folder).outputs, every_s)
    sampler.start()
    return sampler


def _run(sender: Sender, parent: int, sampler: SystemSampler | None) -> None:
    """Send until the journal is closed, or its writer is gone, and all of it is sent."""
    from chirpid.tracking.mlflow_store import Away

    pause_s, failures = _FIRST_PAUSE_S, 0
    while True:
        orphan = os.getppid() != parent  # read before the journal: nothing comes after it
        begin = time.monotonic()
        over = orphan or _closed(sender.folder)
        if over and sampler is not None:
            sampler.finish()
            sampler = None
        try:
            if sender.behind():
                _make_durable(sender.folder)
                sender.drain()
            if orphan:
                sender.kill_open_runs()
            if over and not sender.behind():
                return
            pause_s, failures = _FIRST_PAUSE_S, 0
            time.sleep(_POLL_S)
        except Away as error:
            failures += 1
            silent = time.monotonic() - begin > 0.9 * sender.target.timeout_s
            # A database that is locked for a moment is not worth a word.
            if failures == 2 or silent:
                sender.sent.trouble = str(error)
                save_sent(sender.folder, sender.target.key, sender.sent)
            if orphan and failures >= 2:
                return
            _wait(pause_s, parent)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _wait(pause_s: float, parent: int) -> None:
    """Sleep, but not on while the training has ended."""
    deadline = time.monotonic() + pause_s
    while time.monotonic() < deadline and os.getppid() == parent:
        time.sleep(_POLL_S)


def _make_durable(folder: Path) -> None:
    """Have the journal on the disk before any of it is sent."""
    handle = os.open(folder / JOURNAL, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _closed(folder: Path) -> bool:
    """Return whether the last whole line says that the writer is done."""
    path = folder / JOURNAL
    end = whole_bytes(path)
    with open(path, "rb") as handle:
        handle.seek(max(0, end - 200))
        tail = handle.read(end - handle.tell())
    return tail.rstrip(b"\n").rpartition(b"\n")[2].startswith(b'{"kind":"close"')


def main(argv: list[str]) -> int:
    folder, parent = Path(argv[0]), int(argv[1])
    # Ctrl-C and a batch system's stop are for the training; the sender ends after it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(5)
    with locked(folder / LOCK, timeout_s=3600.0) as held:
        if not held:
            return 1
        sender = Sender(folder, target_of(folder))
        sampler = _sampler(folder, parent)
        try:
            _run(sender, parent, sampler)
        except Exception:  # noqa: BLE001 - a defect of ours must be told, and must not be lost
            sender.sent.trouble = "the sender failed, see tracking.log"
            (folder / "tracking.log").write_text(traceback.format_exc())
            save_sent(folder, sender.target.key, sender.sent)
            return 1
    return 0


if __name__ == "__main__":
    # All is saved; unloading mlflow and its libraries would only keep the training waiting.
    os._exit(main(sys.argv[1:]))
