"""The journal of a run: every event as one line of JSON, written before anything is sent.

Lines are appended with single system calls and are never changed, so that a process that is killed
loses nothing it has logged. Only the last line can be torn; it is cut off when the file is opened
again. Making lines safe against a power cut (fsync) is left to the process that sends them.

Events: {"kind": ..., "t": milliseconds since 1970, "run": our id, ...} with the kinds
    open (version, uri, experiment, outputs), close
    start (name, parent, tags, shared), resume, end (status)
    params (values), metrics (values, step), tags (values), file (path, folder)
    series (steps, times, values): many points at once; times in milliseconds, null for no value
    view (name, charts): a page of charts of the runs below this one
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chirpid.storage.atomic import storage_error

JOURNAL = "tracking.jsonl"
VERSION = 1
Event = dict[str, Any]


def whole_bytes(path: Path) -> int:
    """Return the number of bytes up to the end of the last whole line; 0 if there is no file."""
    try:
        with open(path, "rb") as handle:
            end = handle.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - 65536)
                handle.seek(start)
                newline = handle.read(end - start).rfind(b"\n")
                if newline >= 0:
                    return start + newline + 1
                end = start
    except FileNotFoundError:
        pass
    return 0


def read_events(path: Path, position: int = 0) -> Iterator[tuple[Event | None, int]]:
    """Yield each whole line from byte `position` on as an event, with the byte after it.

    A line that is no event (a damaged disk) comes as None, so that it can be skipped and counted.
    """
    with open(path, "rb") as handle:
        handle.seek(position)
        for line in handle:
            if not line.endswith(b"\n"):
                return
            position += len(line)
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            known = isinstance(event, dict) and isinstance(event.get("kind"), str)
            yield (event if known else None), position


class JournalWriter:
    """Appends events to a journal. After a fork only the parent may go on writing.

    Raises:
        StorageError: the journal cannot be opened. Later failures (disk full) keep the lines in
            memory and are told by `trouble`; they are written as soon as that works again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: str | None = None
        self._lock = threading.Lock()
        self._waiting = bytearray()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            os.ftruncate(self._handle, whole_bytes(path))
        except OSError as error:
            raise storage_error(error, path) from error

    def append(self, event: Event) -> None:
        """Add one event, stamped with the time if it has none."""
        event = {"kind": event["kind"], "t": time.time_ns() // 1_000_000, **event}
        line = json.dumps(event, separators=(",", ":"), default=str)
        with self._lock:
            self._waiting += line.encode() + b"\n"
            self._write()

    def _write(self) -> None:
        try:
            while self._waiting:
                written = os.write(self._handle, self._waiting)
                del self._waiting[:written]
            self.trouble = None
        except OSError as error:
            self.trouble = str(storage_error(error, self.path))

    def size(self) -> int:
        """Return the bytes of all events, also of those that wait to be written."""
        return os.fstat(self._handle).st_size + len(self._waiting)

    def close(self) -> None:
        """Write what waits, make it durable and close the file."""
        with self._lock:
            self._write()
            try:
                os.fsync(self._handle)
            except OSError as error:
                self.trouble = str(storage_error(error, self.path))
            os.close(self._handle)
