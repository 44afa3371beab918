"""The picture of a sweep: seconds of an epoch, work of loading and scores of its jobs, in rows."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chirpid.loading.stages import STAGES, phrase
from chirpid.reports.canvas import (
    BLUE,
    FADED,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILION,
    drawing,
    headline,
    light_grid,
    shortened,
)
from chirpid.reports.sweep import (
    SweepJob,
    all_against,
    by_speed,
    fastest_of,
    headline_of,
    settings,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 40
"""Of a picture: more could not be read, and a thousand are more pixels than can be drawn."""
_WIDTH_IN = 10.0  # at 86 dpi as wide as a description in a window of 1500 pixels
_TITLE_CHARACTERS, _NOTE_CHARACTERS = 90, 120  # of a line that is not cut at the edge
_COLOURS = {"decode": ORANGE, "resample": PURPLE, "frontend": GREEN, "gather": SKY}


def sweep_speed(jobs: Sequence[SweepJob], path: Path, *, metric: str, dpi: int = 144) -> None:
    """Draw a row a job, the fastest on top: its epoch, what loading took in it, and its score.

    Of more jobs than `MOST_ROWS` the fastest are drawn, and the slowest.

    Raises:
        ValueError: there is no job.
        StorageError: the file cannot be written.
    """
    if not jobs:
        raise ValueError("no job to draw.")
    ranked, names, fastest = shown(jobs), settings(jobs), fastest_of(jobs)
    title, note = headline_of(jobs)
    lines = textwrap.wrap(note, _NOTE_CHARACTERS)
    with drawing(path, _WIDTH_IN, 0.42 * len(ranked) + 1.8 + 0.15 * len(lines), dpi=dpi) as figure:
        times, work, scores = figure.subplots(1, 3, width_ratios=(5.2, 3.0, 2.2), sharey=True)
        _draw_times(times, ranked, fastest, all_against(jobs))
        _draw_work(work, ranked)
        _draw_scores(scores, ranked, metric)
        labels = [shortened(names[job.number], 44) for job in ranked]
        times.set_yticks(range(len(ranked)), labels)
        for job, text in zip(ranked, times.get_yticklabels(), strict=True):
            text.set_fontweight("bold" if job is fastest else "normal")
        times.set_ylim(len(ranked) - 0.45, -0.55)
        for axes in (times, work, scores):
            axes.tick_params(axis="y", length=0)
            light_grid(axes, "x")
        headline(figure, shortened(title, _TITLE_CHARACTERS), "\n".join(lines))


def shown(jobs: Sequence[SweepJob]) -> list[SweepJob]:
    """Return the jobs that get a row, the fastest first; the slowest is the last one."""
    ranked = by_speed(jobs)
    return ranked if len(ranked) <= MOST_ROWS else [*ranked[: MOST_ROWS - 1], ranked[-1]]


def _draw_times(
    axes: Axes, ranked: Sequence[SweepJob], fastest: SweepJob | None, losses: Mapping[int, str]
) -> None:
    longest = max(job.epoch_s + job.epoch_error_s for job in ranked)
    for row, job in enumerate(ranked):
        axes.barh(row, job.step_s, 0.62, color=BLUE, label="model works")
        axes.barh(row, job.wait_s, 0.62, left=job.step_s, color=VERMILION,
                  label="model waits for a batch")  # fmt: skip
        ends_s = (max(0.0, job.epoch_s - job.epoch_error_s), job.epoch_s + job.epoch_error_s)
        if job.epoch_error_s:
            axes.plot(ends_s, [row, row], color=INK, linewidth=1.2, label="standard error")
        right, rate = ends_s[1] + 0.012 * longest, f"{job.samples_per_s:.0f} samples/s"
        axes.text(right, row - 0.13, rate, va="center", fontsize=8.5,
                  fontweight="bold" if job is fastest else "normal")  # fmt: skip
        axes.text(right, row + 0.21, losses[job.number], va="center", fontsize=7, color=FADED)
    if fastest is not None:
        axes.axvline(fastest.epoch_s, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 1.5 * longest)
    axes.set_xlabel("seconds an epoch")
    _legend(axes, num_columns=3)


def _draw_work(axes: Axes, ranked: Sequence[SweepJob]) -> None:
    found = {stage for job in ranked for stage in job.stages_s}
    stages = [*(s for s in STAGES if s in found), *sorted(found - set(STAGES))]
    totals = [sum(job.stages_s.values()) for job in ranked]
    for row, job in enumerate(ranked):
        left = 0.0
        for stage in stages:
            amount = job.stages_s.get(stage, 0.0)
            axes.barh(row, amount, 0.62, left=left, color=_COLOURS.get(stage, SOFT),
                      label=phrase(stage))  # fmt: skip
            left += amount
        axes.text(left + 0.02 * (max(totals) or 1.0), row, _seconds(left), va="center",
                  fontsize=8, color=FADED)  # fmt: skip
    axes.set_xlim(0, 1.25 * (max(totals) or 1.0))
    axes.set_xlabel("core-seconds of loading")
    _legend(axes)


def _seconds(amount: float) -> str:
    return f"{amount:.2f} s" if amount >= 0.01 else "under 0.01 s"


def _draw_scores(axes: Axes, ranked: Sequence[SweepJob], metric: str) -> None:
    for row, job in enumerate(ranked):
        if job.score is None:
            continue
        if job.ci95 is not None:
            axes.plot(list(job.ci95), [row, row], color=BLUE, linewidth=6, alpha=0.28,
                      solid_capstyle="butt", label="95 % interval")  # fmt: skip
        axes.scatter([job.score], [row], s=40, color=BLUE, marker="D", zorder=3)
        axes.annotate(f"{job.score:.4f}", (1.01, row), xycoords=("axes fraction", "data"),
                      va="center", fontsize=8)  # fmt: skip
    axes.margins(x=0.12)
    axes.set_xlabel(metric)
    _legend(axes)


def _legend(axes: Axes, *, num_columns: int = 2) -> None:
    """Name each colour once, above the panel."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        axes.legend(unique.values(), unique.keys(), loc="lower left", ncols=num_columns,
                    bbox_to_anchor=(0.0, 1.0), fontsize=8, borderaxespad=0.2, columnspacing=1.0,
                    handlelength=1.2)  # fmt: skip
