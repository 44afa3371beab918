"""`chirpid bench auto`: recordings are made, and a child process trains with every setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chirpid.bench.auto.cgroups import held_to
from chirpid.bench.auto.search import Ask, SettingRow, Told, search
from chirpid.bench.auto.workloads import TORCH, Fixed, Workload, fixed_settings
from chirpid.bench.material import write_recordings
from chirpid.errors import BenchmarkError
from chirpid.loading.hardware import usable_cores

Row = TypeVar("Row")


def measure(
    folder: Path,
    workloads: Sequence[Workload],
    *,
    turns: int,
    duration_s: float,
    say: Callable[[str], None],
) -> list[SettingRow]:
    """Return the rows of every setting on every workload; see `staged`."""

    def one(workload: Workload, ask: Ask) -> list[SettingRow]:
        settings = fixed_settings(usable_cores())
        if workload.slow_disk is not None:  # each worker takes as much memory again as is spared
            settings = [setting for setting in settings if "processes" not in setting.name]
        return search(workload, settings, ask, turns=turns, say=say)

    return staged(folder, workloads, one, duration_s=duration_s, say=say)


def staged(
    folder: Path,
    workloads: Sequence[Workload],
    measure_one: Callable[[Workload, Ask], list[Row]],
    *,
    duration_s: float,
    say: Callable[[str], None],
) -> list[Row]:
    """Make the recordings of each workload, and return what was measured of all.

    One that this machine cannot stage is said and left out.
    """
    rows: list[Row] = []
    for workload in workloads:
        say(f"{workload.name}: {workload.about}")
        root = folder / workload.name
        write_recordings(root, workload.kind, workload.recordings, duration_s=duration_s)
        try:
            with trainings(workload, root) as ask:
                rows += measure_one(workload, ask)
        except BenchmarkError as error:
            if workload.slow_disk is None:
                raise
            say(f"  left out: {error}")
    return rows


@contextmanager
def trainings(workload: Workload, root: Path) -> Iterator[Ask]:
    """Give what trains on a workload, in a child that has been warmed up by one training."""
    with ExitStack() as stack:
        child = stack.enter_context(_child())
        trainer = _Trainer(child, workload, root)
        trainer.ask(fixed_settings(1)[0])
        if workload.slow_disk is not None:
            stack.enter_context(held_to(workload.slow_disk, child.pid, root))
        yield trainer.ask


@contextmanager
def _child() -> Iterator[subprocess.Popen[str]]:
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "chirpid.cli.bench_auto_child"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()  # it waits for the next question, or nobody wants its answer any more


@dataclass(slots=True)
class _Trainer:
    child: subprocess.Popen[str]
    workload: Workload
    root: Path

    def ask(self, setting: Fixed) -> Told:
        """Have the child train with a setting; what it keeps is removed after each."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        asked = {
            "overrides": [
                f"dataset.root={self.root}", *self.workload.all_overrides(), *setting.overrides,
            ],
            "plain_torch": setting is TORCH,
            "place": str(self.root.parent / f"{self.workload.name}-outputs"),
            "recordings": str(self.root) if self.workload.slow_disk else None,
        }  # fmt: skip
        self.child.stdin.write(json.dumps(asked) + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            code = self.child.wait()
            raise BenchmarkError(f"{self.workload.name}, {setting.name}: ended with {code}.")
        told: Told = json.loads(answer)
        return told
