"""A sweep's jobs as tables: CSV and JSON, and the description of its page in MLflow."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chirpid.reports.sweep import (
    SweepJob,
    all_against,
    by_speed,
    decimals_of,
    headline_of,
    settings,
)
from chirpid.storage.atomic import write_text

_MOST_CHARACTERS = 7000
"""Of a description: MLflow cuts a tag at 8000, and ids are filled in later."""

COLUMNS = ("job", "settings", "samples_per_s", "epoch_s", "epoch_error_s", "wait_s", "step_s",
           "wait_share", "bound_by", "against_fastest", "loading", "others_cores", "score",
           "ci95_low", "ci95_high", "wall_s", "mlflow_run_id")  # fmt: skip


def table(jobs: Sequence[SweepJob]) -> tuple[list[str], list[list[Any]]]:
    """Return the names of the columns, and a row a job, the fastest first."""
    ranked, names, losses = by_speed(jobs), settings(jobs), all_against(jobs)
    stages = sorted({stage for job in jobs for stage in job.stages_s})
    rows = []
    for job in ranked:
        low, high = job.ci95 or (None, None)
        rows.append(
            [job.number, names[job.number], round(job.samples_per_s, 3), round(job.epoch_s, 6),
             round(job.epoch_error_s, 6), round(job.wait_s, 6), round(job.step_s, 6),
             round(job.wait_share, 6), job.bound_by, losses[job.number], job.loading,
             round(job.others_cores, 3), job.score, low, high, job.wall_s, job.mlflow_run_id,
             *(round(job.stages_s.get(stage, 0.0), 6) for stage in stages)]
        )  # fmt: skip
    return [*COLUMNS, *(f"{stage}_core_s" for stage in stages)], rows


def write_tables(jobs: Sequence[SweepJob], csv_path: Path, json_path: Path) -> None:
    """Write the table as CSV, and as JSON in the shape that MLflow's page shows as a table."""
    columns, rows = table(jobs)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(csv_path, out.getvalue())
    write_text(json_path, json.dumps({"columns": columns, "data": rows}))


def markdown(jobs: Sequence[SweepJob], *, metric: str, plot: str, charts: str) -> str:
    """Return the description of the sweep's run in MLflow.

    Args:
        plot, charts: addresses of the picture, and of the page that charts the jobs.
    """
    ranked, names, losses = by_speed(jobs), settings(jobs), all_against(jobs)
    (title, note), digits = headline_of(jobs), decimals_of(ranked[0])
    heads = ["settings", "loading", "samples/s", "s an epoch", "waiting", "bound by",
             "against the fastest", metric]  # fmt: skip
    lines = [f"**{title}**", "", note, "", _row(heads), "|---|---|---:|---:|---:|---|---|---:|"]
    rows = []
    for job in ranked:
        name = names[job.number].replace("|", "\\|")
        if job.mlflow_run_id:
            name = f"[{name}](#/experiments/{{{{mlflow.experiment_id}}}}/runs/{job.mlflow_run_id})"
        rows.append(
            _row([name, job.loading, f"{job.samples_per_s:.0f}", f"{job.epoch_s:.{digits}f}",
                  f"{100 * job.wait_share:.1f} %", job.bound_by.partition(",")[0],
                  losses[job.number], "" if job.score is None else f"{job.score:.4f}"])
        )  # fmt: skip
    end = ["", f"[Charts of these jobs]({charts})", "",
           f"![where the time went]({plot})"]  # fmt: skip
    return "\n".join([*lines, *_that_fit(rows, len("\n".join([*lines, *end]))), *end])


def _row(cells: Sequence[str]) -> str:
    """Return a row of a table; MLflow's page puts no space of its own between columns."""
    return f"| {' | &ensp;'.join(cells)} |"


def _that_fit(rows: Sequence[str], taken: int) -> list[str]:
    """Return the first rows that a description has room for, and a line about the others."""
    kept: list[str] = []
    num = taken + 80  # of that line
    for row in rows:
        num += len(row) + 1
        if num > _MOST_CHARACTERS:
            return [*kept, "", f"{len(rows) - len(kept)} slower jobs are in sweep/sweep.csv."]
        kept.append(row)
    return kept
