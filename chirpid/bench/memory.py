"""Peak memory of each mode as the set grows tenfold; each figure from a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from chirpid.bench.footprint import MIB, Footprint, footprint
from chirpid.bench.material import write_recordings
from chirpid.bench.report import table
from chirpid.errors import BenchmarkError
from chirpid.types import Mode

BASE, OPEN, EPOCHS = "base", "open", "epochs"
"""What the child is at: everything imported; opening or building the set; two epochs of it."""
GROWTH = 10
_EVERY_S, _LONGEST_S = 0.01, 300.0
STORED = (Mode.cached, Mode.streaming)


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """The peak of one run, in MiB, over its whole process tree."""

    case: str
    """The mode; building its store is a case of its own."""
    samples: int
    set_mib: float
    """All rows as kept."""
    batch_mib: float
    """One float32 batch."""
    base_mib: float
    """Own memory once everything is imported."""
    peak_mib: float
    """The most own memory: what no other program can have."""
    grown_mib: float
    """Peak less base: what the mode itself costs."""
    mapped_mib: float
    """The most pages of mapped files: page cache that the system takes back when it must."""


def measure(
    folder: Path,
    *,
    samples: int,
    duration_s: float,
    batch_size: int,
    say: Callable[[str], None],
    modes: Sequence[Mode] = tuple(Mode),
) -> list[MemoryRow]:
    """Return two rows per case: of `samples` segments and of ten times as many."""
    rows = []
    for count in (samples, GROWTH * samples):
        place = folder / str(count)
        say(f"  making {count} recordings")
        write_recordings(place, "wav", count, duration_s=duration_s)
        for mode in modes:
            for building in (True, False) if mode in STORED else (False,):
                asked: dict[str, object] = {
                    "folder": str(place), "mode": mode.value, "building": building,
                    "duration_s": duration_s, "batch_size": batch_size,
                }  # fmt: skip
                case = f"{mode.value}, building the store" if building else mode.value
                say(f"  {case}, {count} segments")
                rows.append(_row(case, count, asked))
    return sorted(rows, key=lambda row: (list(Mode).index(Mode(row.case.split(",")[0])), row.case))


def _row(case: str, count: int, asked: dict[str, object]) -> MemoryRow:
    peaks, told = _watch(asked)
    own = max(peak.own_bytes for peak in peaks.values()) / MIB
    base = peaks[BASE].own_bytes / MIB
    return MemoryRow(
        case=case,
        samples=count,
        set_mib=told["row_bytes"] * count / MIB,
        batch_mib=told["batch_bytes"] / MIB,
        base_mib=base,
        peak_mib=own,
        grown_mib=own - base,
        mapped_mib=max(peak.mapped_bytes for peak in peaks.values()) / MIB,
    )


def _watch(asked: dict[str, object]) -> tuple[dict[str, Footprint], dict[str, float]]:
    """Run the child; return the peaks while it was at each stage, and what it told of the set."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "chirpid.bench.memory_child", json.dumps(asked)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as child:  # fmt: skip
        heard = _Listener(child)
        peaks: dict[str, Footprint] = {}
        end = time.monotonic() + _LONGEST_S
        while child.poll() is None:
            stage, now = heard.stage, footprint(child.pid)
            if stage:
                peaks[stage] = _larger(peaks.get(stage, now), now)
                heard.answer(stage)
            if time.monotonic() > end:
                child.kill()
            time.sleep(_EVERY_S)
    if child.returncode or EPOCHS not in peaks:
        raise BenchmarkError(f"memory: the process of {asked} ended with {child.returncode}.")
    return peaks, heard.told


class _Listener:
    """Hears at which stage a child is, and lets it go on once a stage has been looked at."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.stage, self._answered = "", ""
        self.told: dict[str, float] = {}
        self._child = child
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            said = json.loads(line)
            self.told |= said.get("told", {})
            self.stage = said["stage"]

    def answer(self, stage: str) -> None:
        """Let the child go on with a stage."""
        if stage == self._answered or self._child.stdin is None:
            return
        self._answered = stage
        try:
            self._child.stdin.write("\n")
            self._child.stdin.flush()
        except OSError:  # it has ended
            return


def _larger(one: Footprint, other: Footprint) -> Footprint:
    names = Footprint.__slots__
    return Footprint(**{name: max(getattr(one, name), getattr(other, name)) for name in names})


def as_json(rows: Sequence[MemoryRow]) -> list[dict[str, object]]:
    """Return the rows as they are written."""
    return [asdict(row) for row in rows]


def markdown(rows: Sequence[MemoryRow]) -> str:
    """Return the table for a page: a line a case, both sizes beside each other."""
    lines = []
    for case in dict.fromkeys(row.case for row in rows):
        small, large = sorted((r for r in rows if r.case == case), key=lambda row: row.samples)
        lines.append([
            f"`{case.split(',')[0]}`{case[len(case.split(',')[0]):]}",
            f"{small.set_mib:.0f} → {large.set_mib:.0f}",
            f"{small.grown_mib:.0f} → {large.grown_mib:.0f}",
            f"{small.mapped_mib:.0f} → {large.mapped_mib:.0f}",
            f"{large.base_mib:.0f}",
        ])  # fmt: skip
    columns = ["mode", "the set, MiB", "own memory above the base, MiB",
               "mapped files (page cache), MiB", "base, MiB"]  # fmt: skip
    return table(lines, columns)
