"""The record of what was sent: how far in the journal, and as which MLflow runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chirpid.storage.atomic import write_text

RECORD = "tracking.sent.json"
LOCK = ".tracking.lock"


@dataclass(slots=True)
class Sent:
    """What one target has got. Losing it is harmless: sending again changes nothing there."""

    position: int = 0
    """Bytes of the journal that are sent."""
    system: int = 0
    """Bytes of the journal of the machine that are sent."""
    runs: dict[str, str] = field(default_factory=dict)
    """MLflow's run id by ours."""
    trouble: str | None = None
    """Why nothing can be sent at the moment, for the user."""
    refused: str | None = None
    """The first thing that the server would not take, for the user."""


def load_sent(folder: Path, key: str) -> Sent:
    """Return the record of target `key`, an empty one where there is none."""
    return Sent(**_read(folder).get(key, {}))


def save_sent(folder: Path, key: str, sent: Sent) -> None:
    """Write the record, whole or not at all."""
    targets = _read(folder) | {key: asdict(sent)}
    write_text(folder / RECORD, json.dumps({"version": 1, "targets": targets}, indent=1))


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        targets: dict[str, dict[str, Any]] = json.loads((folder / RECORD).read_bytes())["targets"]
        return targets
    except (OSError, ValueError, KeyError):
        return {}


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[bool]:
    """Hold a lock among processes; give False if another process kept it for `timeout_s`.

    The system frees it when the process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + timeout_s
        while not _try_lock(handle):
            if time.monotonic() >= deadline:
                yield False
                return
            time.sleep(0.05)
        yield True
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
