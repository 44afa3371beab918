"""Remember scans of recordings between runs, in one SQLite file.

A scan is found again by absolute path, size and time of change. SQLite's journal makes the file
safe against kill -9 and for two processes at once. A store that fails costs time, not the run.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from chirpid.audio.scan import Finding, Scan

SCAN_VERSION = 1
"""Raise it when scans come out differently; older ones are then forgotten."""
BUSY_TIMEOUT_S = 20.0

_TABLE = """CREATE TABLE IF NOT EXISTS scans (
    path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, version INTEGER, facts TEXT, levels BLOB
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file is recognised by. Take it before reading, so that a change meanwhile shows."""

    path: str
    size: int
    mtime_ns: int


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file; None if it cannot be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stamp(os.path.abspath(path), found.st_size, found.st_mtime_ns)


class ScanStore:
    """Scans by stamp. For one thread; other processes may use the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: str | None = None
        """Why nothing is remembered, if so."""
        self._base: sqlite3.Connection | None = None
        self._base = self._open()

    def close(self) -> None:
        """Close the file."""
        if self._base is not None:
            self._base.close()
            self._base = None

    def get(self, stamp: Stamp) -> Scan | None:
        """Return the remembered scan of a file that has not changed, or None."""
        if self._base is None:
            return None
        try:
            row = self._base.execute(
                "SELECT facts, levels FROM scans"
                " WHERE path = ? AND size = ? AND mtime_ns = ? AND version = ?",
                (stamp.path, stamp.size, stamp.mtime_ns, SCAN_VERSION),
            ).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return None if row is None else _unpack(*row)

    def put(self, scans: Iterable[tuple[Stamp, Scan]]) -> None:
        """Remember scans, in one transaction."""
        if self._base is None:
            return
        rows = [
            (stamp.path, stamp.size, stamp.mtime_ns, SCAN_VERSION, *_pack(scan))
            for stamp, scan in scans
        ]
        try:
            with self._base:
                self._base.executemany("INSERT OR REPLACE INTO scans VALUES (?,?,?,?,?,?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _open(self) -> sqlite3.Connection | None:
        for attempt in (1, 2):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                base = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S)
                with base:
                    base.execute(_TABLE)
                return base
            except sqlite3.OperationalError as error:  # locked, read-only, disk full
                self._give_up(error)
                return None
            except sqlite3.DatabaseError as error:  # not a database: it only saved time, start anew
                if attempt == 2 or not self._set_aside():
                    self._give_up(error)
                    return None
            except OSError as error:
                self._give_up(error)
                return None
        return None

    def _set_aside(self) -> bool:
        try:
            os.replace(self.path, self.path.with_name(f"{self.path.name}.damaged"))
        except OSError:
            return False
        return True

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"Scans of recordings cannot be remembered in {self.path}: {error}."
        self.close()


def _pack(scan: Scan) -> tuple[str, bytes]:
    facts = {key: value for key, value in asdict(scan).items() if key != "levels"}
    return json.dumps(facts), np.asarray(scan.levels, dtype="<f4").tobytes()


def _unpack(facts: str, levels: bytes) -> Scan:
    known = json.loads(facts)
    known["findings"] = tuple(Finding(**finding) for finding in known["findings"])
    return Scan(**known, levels=np.frombuffer(levels, dtype="<f4").astype(np.float32))
