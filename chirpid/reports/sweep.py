"""Jobs of a sweep beside each other: which one loaded faster, and where the others lose time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chirpid.loading.stages import UNKNOWN, bound_phrase
from chirpid.reports.spread import (
    NOT_APART,
    VARY,
    error_of_mean,
    others_note,
    rivals,
    title_of,
    told_apart,
)
from chirpid.storage.atomic import write_text


@dataclass(frozen=True, slots=True)
class SweepJob:
    """What a job came to; times are means over its epochs and folds."""

    number: int
    """From 1, in the order in which jobs were started."""
    overrides: tuple[str, ...]
    samples_per_s: float
    wait_s: float
    """Seconds of an epoch in which the model waited for a batch."""
    step_s: float
    """Seconds of an epoch in which the model worked."""
    stages_s: Mapping[str, float] = field(default_factory=dict)
    """Core-seconds that loading took in an epoch, by stage; most of it beside the steps."""
    score: float | None = None
    ci95: tuple[float, float] | None = None
    wall_s: float = 0.0
    """Seconds of the whole job, preparing and validating included."""
    mlflow_run_id: str | None = None
    bound: str = UNKNOWN
    """What bound it, as its advice says; unknown if it was too short to tell."""
    epoch_error_s: float = 0.0
    """Standard error of `epoch_s`, by how its epochs differ; 0 if there was one."""
    others_cores: float = 0.0
    """Cores that other programs had while the job was ready for them; 0 if it is not known."""
    loading: str = ""
    """How its batches were fetched in the end: mode, backend, workers."""

    @property
    def is_told(self) -> bool:
        """Whether it lasted long enough for its speed to say something."""
        return self.bound != UNKNOWN

    @property
    def bound_by(self) -> str:
        """What bound it, in words."""
        return bound_phrase(self.bound)

    @property
    def epoch_s(self) -> float:
        return self.wait_s + self.step_s

    @property
    def wait_share(self) -> float:
        return self.wait_s / max(self.epoch_s, 1e-9)


def sweep_job(
    number: int, overrides: Sequence[str], results: Mapping[str, Any], *,
    epochs: Sequence[Mapping[str, float]], num_batches: int, metric: str,
) -> SweepJob | None:  # fmt: skip
    """Return the job of which `results.json` tells; None if nothing was trained in it.

    Args:
        epochs: figures of the epochs of all folds, as they are logged.
        num_batches: of a training epoch.
        metric: the score to show.
    """
    loaders = [epoch for epoch in epochs if "loader/step_ms" in epoch]
    if not loaders or not num_batches:
        return None

    def mean(name: str) -> float:
        return sum(one.get(name, 0.0) for one in loaders) / len(loaders)

    wait_s, step_s = (num_batches * mean(f"loader/{n}") / 1e3 for n in ("wait_ms_mean", "step_ms"))
    # Samples over seconds of all epochs: a mean of the epochs' rates would favour the fast ones.
    epochs_s = [num_batches * (one["loader/wait_ms_mean"] + one["loader/step_ms"]) / 1e3
                for one in loaders]  # fmt: skip
    num_samples = sum(
        one["loader/samples_per_s"] * epoch_s
        for one, epoch_s in zip(loaders, epochs_s, strict=True)
    ) / len(loaders)  # fmt: skip
    begin, ending = "loader/", "_ms_per_sample"
    stages = sorted({name.removeprefix(begin).removesuffix(ending)
                     for one in loaders for name in one if name.endswith(ending)})  # fmt: skip
    score = results["metrics"].get(metric, {})
    ci95 = score.get("ci95")
    return SweepJob(
        number=number, overrides=tuple(overrides),
        samples_per_s=num_samples / max(wait_s + step_s, 1e-9),
        wait_s=wait_s, step_s=step_s,
        stages_s={stage: num_samples * mean(begin + stage + ending) / 1e3 for stage in stages},
        score=score.get("mean") if score.get("pooled") is None else score["pooled"],
        ci95=None if ci95 is None else (ci95[0], ci95[1]),
        wall_s=results["wall_s"], mlflow_run_id=results.get("mlflow_run_id"),
        bound=results.get("advice", {}).get("bound", UNKNOWN),
        epoch_error_s=error_of_mean(epochs_s), others_cores=mean("loader/others_cores"),
        loading=_loading(results.get("plan")),
    )  # fmt: skip


def _loading(plan: Mapping[str, Any] | None) -> str:
    """Return in a few words what `loader=auto`, or any other, came to."""
    if plan is None:
        return ""
    workers = f"{plan['num_workers']} " if plan["num_workers"] else ""
    return f"{plan['mode']}, {workers}{plan['backend']}"


def write_job(folder: Path, job: SweepJob) -> None:
    """Keep a job in the folder of its sweep, where jobs of any process find it."""
    write_text(folder / f"job-{job.number}.json", json.dumps(asdict(job), indent=1))


def read_jobs(folder: Path) -> list[SweepJob]:
    """Return the jobs of a sweep that are done, in the order of their numbers."""
    found = []
    for path in folder.glob("job-*.json"):
        about = json.loads(path.read_text(encoding="utf-8"))
        ci95 = about.pop("ci95")
        about["overrides"] = tuple(about["overrides"])
        found.append(SweepJob(**about, ci95=None if ci95 is None else (ci95[0], ci95[1])))
    return sorted(found, key=lambda job: job.number)


def settings(jobs: Sequence[SweepJob]) -> dict[int, str]:
    """Return by number what sets each job apart: the overrides that not all have."""
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    return {job.number: " ".join(o for o in job.overrides if o not in common) or f"job {job.number}"
            for job in jobs}  # fmt: skip


def by_speed(jobs: Iterable[SweepJob]) -> list[SweepJob]:
    """Return the jobs, the one with the most samples a second first."""
    return sorted(jobs, key=lambda job: (-job.samples_per_s, job.number))


def first_of(jobs: Sequence[SweepJob]) -> SweepJob | None:
    """Return the first of the jobs that can be told; None if there are no two to compare."""
    told = [job for job in by_speed(jobs) if job.is_told]
    enough = len(told) > 1 or len(told) == len(jobs) == 1
    return told[0] if enough else None


def fastest_of(jobs: Sequence[SweepJob]) -> SweepJob | None:
    """Return the fastest job; None if it cannot be told, or not from another one."""
    first = first_of(jobs)
    return None if first is None or rivals(jobs, first) else first


def against(job: SweepJob, first: SweepJob | None, *, is_fastest: bool = True) -> str:
    """Return where an epoch of a job loses time to the first one, if that can be told.

    Args:
        is_fastest: no other job may be as fast as the first one.
    """
    if first is None or not job.is_told:
        return bound_phrase(UNKNOWN)
    if job is first and is_fastest:
        return "fastest"
    if job is first or not told_apart(job, first):
        return NOT_APART
    parts = [(job.wait_s - first.wait_s, "waiting"), (job.step_s - first.step_s, "in steps")]
    told = [f"{seconds:+.{decimals_of(first)}f} s {where}" for seconds, where in parts
            if abs(seconds) >= 0.01 * first.epoch_s]  # fmt: skip
    return ", ".join(told) or "as fast"


def all_against(jobs: Sequence[SweepJob]) -> dict[int, str]:
    """Return by number where an epoch of each job loses time to the first one."""
    first, fastest = first_of(jobs), fastest_of(jobs)
    return {job.number: against(job, first, is_fastest=fastest is not None) for job in jobs}


def decimals_of(job: SweepJob) -> int:
    """Return the decimals in which a hundredth of an epoch can be told."""
    return next((n for n in range(1, 5) if 10.0**-n <= job.epoch_s / 50), 5)


def same_score(jobs: Sequence[SweepJob]) -> bool:
    """Return whether the score of all jobs is the same to the last bit."""
    return len(jobs) > 1 and len({job.score for job in jobs}) == 1 and jobs[0].score is not None


def headline_of(jobs: Sequence[SweepJob]) -> tuple[str, str]:
    """Return which job is the fastest, and why, as two lines; or that it cannot be told."""
    told, names = [job for job in by_speed(jobs) if job.is_told], settings(jobs)
    same = ["the same score in all"] if same_score(jobs) else []
    first = first_of(jobs)
    if first is None:
        return _untold(jobs, told), " · ".join(
            ["longer epochs, or more of them, would tell", *same]
        )
    if len(jobs) == 1:
        return names[first.number], f"{first.samples_per_s:.0f} samples/s, {_state(first)}"
    equal = rivals(told, first)
    notes = [VARY] if equal else [_state(first)]
    # The slowest in samples a second may be one whose epochs vary too much to tell.
    slower = [job for job in told[1:] if told_apart(job, first)]
    notes += [f"slowest {names[job.number]}: {against(job, first)} an epoch" for job in slower[-1:]]
    short = len(jobs) - len(told)
    notes += [f"{short} too short to tell"] if short else []
    notes += [note for note in [others_note(told)] if note]
    return title_of(told, equal, names), " · ".join([*notes, *same])


def _untold(jobs: Sequence[SweepJob], told: Sequence[SweepJob]) -> str:
    """Return why no job is the fastest."""
    if len(jobs) == 1:
        return f"{settings(jobs)[jobs[0].number]} was too short to tell how fast it is"
    who = "Only one" if told else "None"
    return f"{who} of the {len(jobs)} jobs lasted long enough to tell which is the fastest"


def _state(job: SweepJob) -> str:
    return f"waits {100 * job.wait_share:.1f} % of the time, bound by {job.bound_by}"
