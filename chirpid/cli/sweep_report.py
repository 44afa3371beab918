"""What a sweep tells: after each job its jobs beside each other, on the sweep's run in MLflow."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chirpid.config.resolve import SweepInfo
from chirpid.engine.rule import FoldOutcome
from chirpid.reports.sweep import (
    SweepJob,
    fastest_of,
    read_jobs,
    same_score,
    settings,
    sweep_job,
    write_job,
)
from chirpid.reports.sweep_page import markdown, write_tables
from chirpid.reports.sweep_plot import sweep_speed
from chirpid.storage.locks import FileLock
from chirpid.tracking import Tracker
from chirpid.tracking.views import charts_address

PLOT, IN_PAGE, TABLE, COLUMNS = "sweep.png", "sweep_in_page.png", "sweep.csv", "sweep.json"
_IN_PAGE_DPI = 86  # MLflow's descriptions show a picture at its own size
_IN_MLFLOW = "sweep"
_FASTEST = "loader/samples_per_s"
_CHARTS = ("loader/samples_per_s", "loader/wait_share", "loader/wait_ms_mean", "loader/step_ms",
           "loader/first_batch_s", "loader/cpu_share", "loader/rss_mib",
           "loader/step/samples_per_s", "loader/step/wait_ms_max", "train/step/loss")  # fmt: skip


def report_job(
    outcomes: Sequence[FoldOutcome], results: Mapping[str, Any], *, sweep: SweepInfo,
    outputs: Path, metric: str, tracker: Tracker, parent: str,
) -> None:  # fmt: skip
    """Add a job to its sweep, and log the comparison of all that are done to the sweep's run.

    After each job, not at the end: a sweep that is stopped has it as well.
    """
    num_batches = max((len(outcome.recording.timeline_B3) for outcome in outcomes), default=0)
    epochs = [epoch for outcome in outcomes for epoch in outcome.history]
    job = sweep_job(sweep.job + 1, sweep.overrides, results, epochs=epochs,
                    num_batches=num_batches, metric=metric)  # fmt: skip
    if job is None:
        return
    folder = outputs / "sweeps" / sweep.id
    # Jobs of other processes do the same: who comes later has seen all that came before.
    with contextlib.closing(FileLock(folder / "jobs.lock")) as lock:
        lock.acquire()
        write_job(folder, job)
        jobs = read_jobs(folder)
        write_tables(jobs, folder / TABLE, folder / COLUMNS)
        sweep_speed(jobs, folder / PLOT, metric=metric)
        sweep_speed(jobs, folder / IN_PAGE, metric=metric, dpi=_IN_PAGE_DPI)
    for name in (PLOT, IN_PAGE, TABLE, COLUMNS):
        tracker.log_file(parent, folder / name, folder=_IN_MLFLOW)
    tracker.log_metrics(parent, job_figures(job), step=job.number)
    tracker.set_tags(parent, sweep_tags(jobs, metric))
    if len(jobs) > 1:
        stages = sorted({stage for one in jobs for stage in one.stages_s})
        charts = [*_CHARTS[:4], metric, *(f"loader/{s}_ms_per_sample" for s in stages)]
        tracker.save_view(parent, f"sweep {sweep.id}", [*charts, *_CHARTS[4:]])


def job_figures(job: SweepJob) -> dict[str, float]:
    """Return what the sweep's run shows of a job, with the job's number as the step."""
    figures = {"sweep/samples_per_s": job.samples_per_s, "sweep/epoch_s": job.epoch_s,
               "sweep/wait_share": job.wait_share, "sweep/wall_s": job.wall_s}  # fmt: skip
    if job.score is not None and math.isfinite(job.score):
        figures["sweep/score"] = job.score
    return figures


def sweep_tags(jobs: Sequence[SweepJob], metric: str) -> dict[str, str]:
    """Return the tags of the sweep's run: the answer in words, and the description of the page."""
    picture = f"get-artifact?run_uuid={{{{mlflow.run_id}}}}&path={_IN_MLFLOW}/{IN_PAGE}"
    # The number of jobs is in the address, so that a browser does not show an older picture.
    picture += f"&jobs={len(jobs)}"
    return {
        **_fastest_tags(jobs),
        "chirpid.same_score": str(same_score(jobs)).lower(),
        "mlflow.loggedArtifacts": f'[{{"path": "{_IN_MLFLOW}/{COLUMNS}", "type": "table"}}]',
        "mlflow.note.content": markdown(
            jobs, metric=metric, plot=picture, charts=charts_address(_FASTEST, view=len(jobs) > 1)
        ),
    }


def _fastest_tags(jobs: Sequence[SweepJob]) -> dict[str, str]:
    """Return which job is the fastest, once two have lasted long enough to tell.

    Not before: a tag stays, and one of the first job would name it whatever came after.
    """
    if len(jobs) == 1:
        return {}
    fastest = fastest_of(jobs)
    if fastest is None:
        # Tags stay: one that named a job before is written over.
        return {
            "chirpid.fastest": "cannot be told",
            "chirpid.fastest.bound_by": "",
            "chirpid.fastest.samples_per_s": "",
        }
    return {
        "chirpid.fastest": settings(jobs)[fastest.number],
        "chirpid.fastest.bound_by": fastest.bound_by,
        "chirpid.fastest.samples_per_s": f"{fastest.samples_per_s:.1f}",
    }
