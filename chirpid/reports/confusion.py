"""Which species are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chirpid.reports.canvas import INK, drawing, headline, shortened
from chirpid.types import FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_NAME = 26
_NUMBERS_UP_TO = 32  # classes; above, counts would be smaller than 5 points


def confusion_matrix(
    counts_CC: IntArray, classes: Sequence[str], path: Path, *, title: str = "Confusion matrix"
) -> None:
    """Draw counts as an image whose colour is the share of the true class.

    Args:
        counts_CC: integers [C, C], rows are the truth, columns the prediction.
        classes: C names.
    Raises:
        ValueError: shapes do not fit.
        StorageError: the file cannot be written.
    """
    counts = np.asarray(counts_CC)
    num = len(classes)
    if counts.shape != (num, num):
        raise ValueError(f"counts_CC has shape {counts.shape}, expected {(num, num)}.")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = float(np.clip(0.36 * num, 3.2, 11.0))
    longest = min(max(map(len, classes), default=1), _MAX_NAME)
    font = _font(side, num)
    upright = longest * font * 0.65 > 72 * side / num
    letter_in = font * 0.62 / 72
    left = letter_in * (longest + 4 + len(str(int(totals.max(initial=0))))) + 0.4
    below = letter_in * longest + 0.3 if upright else 0.45
    with drawing(path, left + side + 1.1, side + below + 0.55) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
        _name_axes(axes, classes, totals[:, 0], size=font, rotation=90 if upright else 0)
        if num <= _NUMBERS_UP_TO:
            _write_counts(axes, counts, shares, cell_pt=72 * side / num)
        bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
        correct, everything = int(np.trace(counts)), int(counts.sum())
        share = f"{100 * correct / everything:.1f} %" if everything else "none"
        headline(figure, title, f"{correct} of {everything} right ({share})")


def _font(side_in: float, num: int) -> float:
    """Return a font size in points that fits `num` lines in `side_in`."""
    return float(np.clip(72 * side_in / max(num, 1) * 0.72, 4.0, 9.0))


def _name_axes(
    axes: Axes, classes: Sequence[str], totals_C: IntArray, *, size: float, rotation: float
) -> None:
    names = [shortened(name, _MAX_NAME) for name in classes]
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=rotation, fontsize=size)
    rows = [f"{name}  ({int(total)})" for name, total in zip(names, totals_C, strict=True)]
    axes.set_yticks(ticks, rows, fontsize=size)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (number)")
    edges = np.arange(len(names) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8 if len(names) <= 20 else 0.4)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_counts(axes: Axes, counts: IntArray, shares: FloatArray, *, cell_pt: float) -> None:
    digits = len(str(int(counts.max(initial=1))))
    size = min(0.4 * cell_pt, 1.25 * cell_pt / digits, 14.0)
    for row, column in np.argwhere(counts > 0):
        dark = shares[row, column] > 0.55
        axes.text(
            int(column),
            int(row),
            f"{int(counts[row, column])}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if dark else INK,
        )
