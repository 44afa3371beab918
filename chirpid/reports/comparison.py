"""Folds of a run beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chirpid.reports.canvas import (
    BLUE,
    INK,
    SOFT,
    drawing,
    headline,
    light_grid,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = ("recording/accuracy", "recording/macro_f1", "recording/macro_auroc", "recording/cmap",
         "segment/accuracy", "segment/macro_f1", "segment/macro_auroc", "segment/cmap")  # fmt: skip
"""Metrics in the order in which reports show them; others follow by name."""


def metric_order(names: Sequence[str]) -> list[str]:
    """Return the names sorted for a report: recordings first, the well-known before others."""
    rank = {name: i for i, name in enumerate(ORDER)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def folds_overview(results: Mapping[str, Any], path: Path, *, title: str = "Folds") -> None:
    """Draw each metric's folds as dots, their mean as a bar, the pooled value with its interval.

    Args:
        results: the content of `results.json`.
    Raises:
        ValueError: there are no metrics.
        StorageError: the file cannot be written.
    """
    names = [n for n in metric_order(list(results["metrics"])) if _in_unit_range(results, n)]
    if not names:
        raise ValueError("results hold no metrics.")
    with drawing(path, 7.6, 0.44 * len(names) + 1.4) as figure:
        axes = figure.add_subplot()
        for row, name in enumerate(names):
            _draw_metric(axes, row, name, results)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-0.01, 1.01)
        axes.tick_params(axis="y", length=0)
        figure.legend(*_named_once(axes), loc="outside lower center", ncols=3, fontsize=8)
        light_grid(axes, "x")
        headline(figure, title)


def _in_unit_range(results: Mapping[str, Any], name: str) -> bool:
    """Return whether a metric belongs on an axis from 0 to 1."""
    value = results["metrics"][name].get("pooled", results["metrics"][name].get("mean"))
    return value is not None and 0 <= value <= 1


def _draw_metric(axes: Axes, row: int, name: str, results: Mapping[str, Any]) -> None:
    entry = results["metrics"][name]
    folds = [fold["metrics"].get(name) for fold in results.get("folds", [])]
    values = [value for value in folds if value is not None and np.isfinite(value)]
    spread = np.linspace(-0.13, 0.13, len(values)) if len(values) > 1 else np.zeros(len(values))
    axes.scatter(values, row + spread, s=20, color=SOFT, linewidths=0, label="a fold", zorder=3)
    if entry.get("mean") is not None and len(values) > 1:
        axes.plot([entry["mean"]] * 2, [row - 0.28, row + 0.28], color=INK, linewidth=1.6,
                  label="mean of the folds", zorder=2)  # fmt: skip
    if entry.get("pooled") is not None:
        _draw_interval(axes, row, entry["pooled"], entry.get("ci95"), BLUE,
                       "all recordings, 95 % interval")  # fmt: skip


def _draw_interval(
    axes: Axes, row: float, value: float, ci95: Sequence[float] | None, colour: str, label: str
) -> None:
    axes.scatter([value], [row], s=46, color=colour, marker="D", zorder=4, label=label)
    if ci95 is not None:
        axes.plot(list(ci95), [row, row], color=colour, linewidth=6, alpha=0.28,
                  solid_capstyle="butt", zorder=1)  # fmt: skip


def _named_once(axes: Axes) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    return list(unique.values()), list(unique)
