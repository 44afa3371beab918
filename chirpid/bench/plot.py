"""The benchmark as a picture: how far every case is from the limit of its work."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from chirpid.bench.ours import MAKE_LOADER, OURS
from chirpid.bench.timing import Row
from chirpid.reports.canvas import BLUE, INK, SKY, SOFT, drawing, headline, light_grid

_COLUMNS = 2


def draw(path: Path, rows: Sequence[Row], note: str) -> None:
    """Write a PNG with a panel a work: bars of the percent of the limit, ratios in words."""
    works = [(work, list(cases)) for work, cases in groupby(rows, key=lambda row: row.work)]
    num_lines = -(-len(works) // _COLUMNS)
    most = max(len(cases) for _, cases in works)
    with drawing(path, 10.0, 0.6 + num_lines * (0.7 + 0.2 * most), dpi=110) as figure:
        headline(figure, "Loaders side by side: percent of the limit", note)
        for number, (work, cases) in enumerate(works, start=1):
            axes = figure.add_subplot(num_lines, _COLUMNS, number)
            shown = [row for row in cases if row.case != row.limit][::-1]
            colours = [_colour(row) for row in shown]
            percent = [row.percent_of_limit for row in shown]
            axes.barh([row.case for row in shown], percent, color=colours, height=0.7)
            for place, row in enumerate(shown):
                axes.text(row.percent_of_limit, place, f" {row.ratio:.2f}×", va="center",
                          fontsize=7.5)  # fmt: skip
            axes.axvline(100, color=INK, linewidth=0.8)
            axes.set_xlim(0, 1.15 * max(100.0, *percent))
            axes.set_title(work)
            axes.tick_params(labelsize=7.5, length=0)
            light_grid(axes, "x")


def _colour(row: Row) -> str:
    if row.case == OURS:
        return BLUE
    return SKY if row.case.startswith((OURS, MAKE_LOADER)) else SOFT
