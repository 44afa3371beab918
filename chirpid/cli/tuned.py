"""What loader=auto chose, told: the line before a run, the table, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from chirpid.loading.advice import BUSY
from chirpid.loading.monitor import mean_figures
from chirpid.loading.stages import bound_phrase
from chirpid.loading.tune import Candidate, Work
from chirpid.loading.tune.probe import Outcome

if TYPE_CHECKING:
    from chirpid.cli.course import Course
    from chirpid.engine.rule import FoldOutcome

_SHOWN = 12
_COLUMNS = ("mode", "backend", "workers", "prefetch", "samples/s", "wait", "build", "total",
            "bound", "from", "")  # fmt: skip


@dataclass(slots=True)
class Tuned:
    """What a probe chose, and where it is remembered."""

    outcome: Outcome
    pick: Candidate
    work: Work
    folder: Path
    key: str
    others_share: float = 0.0
    """Share that other programs had of the core time that the probe was ready to use."""

    def line(self) -> str:
        """Return what was chosen and why."""
        setting, prediction = self.pick.setting, self.pick.prediction
        build_s = prediction.build_s
        building = f", {build_s:.1f} s of it to build the rows" if build_s >= 0.05 else ""
        how = f"probed for {self.outcome.probe_s:.1f} s"
        if self.outcome.remembered:
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.outcome.found.made_at))
            how = f"probed on {made}, remembered"
        elif self.others_share >= BUSY:
            how += f"; uncertain, as other programs had {self.others_share:.0%} of its core time"
        return (
            f"loader=auto: {setting.text}: {prediction.samples_per_s:.0f} samples/s predicted, "
            f"wait {prediction.wait_share:.1%}, {binds(prediction.bound)}; "
            f"{prediction.total_s:.1f} s in all{building} ({how})"
        )

    def print_table(self, console: Console) -> None:
        """Print what every setting would come to, the fastest first."""
        rows = [_COLUMNS]
        for one in self._told():
            s, p = one.setting, one.prediction
            rows.append((
                s.mode.value, s.backend.value, str(s.num_workers), str(s.prefetch),
                f"{p.samples_per_s:.0f}", f"{p.wait_share:.1%}", f"{p.build_s:.1f} s",
                f"{p.total_s:.1f} s", p.bound, "tried" if p.tried else "predicted",
                "<- taken" if one == self.pick else "",
            ))  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        console.print("What each setting would come to, of those that fit the budgets")
        for row in rows:  # not a rich table: in a pipe that would fold at 80 columns
            line = "  ".join(f"{t:<{w}}" for t, w in zip(row, widths, strict=True))
            console.print(line.rstrip(), soft_wrap=True)

    def _told(self) -> list[Candidate]:
        """Return the best of each mode, backend and number of workers, and what was taken."""
        best: dict[tuple[object, ...], Candidate] = {}
        for one in self.outcome.ranked:
            best.setdefault(_row_key(one), one)
        best[_row_key(self.pick)] = self.pick
        told = list(best.values())[:_SHOWN]
        return told if self.pick in told else [*told, self.pick]

    def predicted(self) -> dict[str, float]:
        """Return what the training is predicted to come to."""
        names = ("samples_per_s", "wait_share", "epoch_s", "build_s", "total_s")
        return {name: getattr(self.pick.prediction, name) for name in names}

    def results(
        self,
        outcomes: Sequence[FoldOutcome],
        *,
        seconds: float,
        whole: bool,
        course: Course | None = None,
    ) -> dict[str, Any]:
        """Return what results.json says of it: predicted beside achieved.

        Args:
            seconds: of the run, from building the rows to the last validation.
            whole: the run was not stopped and resumed, so that these are comparable.
            course: the plans that it went under. What was achieved is of the epochs under the one
                that was chosen; None where there is none, or nobody knows any more.
        """
        p, predicted = self.pick.prediction, self.predicted()
        is_one = whole and not (course and course.has_changed)
        figures = mean_figures([one.loader for one in outcomes])
        if course is not None and not is_one:
            figures = course.figures(self.pick.setting)  # nothing was predicted of other plans
        achieved = {name: figures.get(f"loader/{name}") for name in ("samples_per_s", "wait_share")}
        setting = {name: getattr(v, "value", v) for name, v in asdict(self.pick.setting).items()}
        return {
            "chosen": {**setting, "bound": p.bound, "tried": p.tried},
            "predicted": predicted,
            "achieved": {**achieved, "total_s": seconds if is_one else None},
            "probe_s": round(self.outcome.probe_s, 3),
            "remembered": self.outcome.remembered,
        }


def achieved_line(told: Mapping[str, Any]) -> str | None:
    """Return one line on predicted and achieved figures of results.json; None if it has none."""
    loader = told.get("loader")
    if not isinstance(loader, dict) or loader["achieved"]["samples_per_s"] is None:
        return None
    predicted, achieved = loader["predicted"], loader["achieved"]
    lasted = ""
    if achieved["total_s"] is not None:
        lasted = f", {achieved['total_s']:.1f} s in all ({predicted['total_s']:.1f} s predicted)"
    return (
        f"loader=auto: {achieved['samples_per_s']:.0f} samples/s achieved "
        f"({predicted['samples_per_s']:.0f} predicted), wait {achieved['wait_share']:.1%} "
        f"({predicted['wait_share']:.1%} predicted){lasted}"
    )


def metrics(told: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of `results` as MLflow shows them, beside those that were achieved."""
    loader = told.get("loader")
    if not isinstance(loader, dict):
        return {}
    figures = {f"loader/predicted_{name}": float(v) for name, v in loader["predicted"].items()}
    if loader["achieved"]["total_s"] is not None:
        figures["loader/total_s"] = float(loader["achieved"]["total_s"])
    return figures


def binds(bound: str) -> str:
    """Return in words what binds."""
    if bound == "cores":
        return "model and loading share the cores"
    return f"{bound_phrase(bound)} bounds it"


def _row_key(one: Candidate) -> tuple[object, ...]:
    return one.setting.mode, one.setting.backend, one.setting.num_workers
