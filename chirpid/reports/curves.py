"""How loss and metrics went over the epochs, all folds in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chirpid.reports.canvas import (
    BLUE,
    INK,
    SOFT,
    VERMILION,
    drawing,
    headline,
    light_grid,
    whole_numbers,
)
from chirpid.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[Mapping[str, float]]
"""One mapping an epoch: epoch, train/loss, valid/loss, valid/recording/macro_f1, lr, ..."""

_METRICS = ("accuracy", "macro_f1", "macro_auroc", "cmap")
_TITLES = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "macro_auroc": "Macro AUROC",
           "cmap": "cmAP"}  # fmt: skip


def learning_curves(
    histories: Sequence[History], path: Path, *, title: str = "Learning curves"
) -> None:
    """Draw loss and the metrics that the histories hold: folds thin, their mean bold.

    Raises:
        ValueError: there is no epoch in any history.
        StorageError: the file cannot be written.
    """
    histories = [history for history in histories if history]
    if not histories:
        raise ValueError("histories hold no epoch.")
    shown = [name for name in _METRICS if any(_has(h, f"/{name}") for h in histories)]
    num = 1 + len(shown)
    columns = min(num, 3)
    rows = -(-num // columns)
    with drawing(path, 4.1 * columns, 2.9 * rows + 0.6) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        _panel(panels[0], histories, [("train/loss", VERMILION, "training"),
                                      ("valid/loss", BLUE, "validation")], "Loss")  # fmt: skip
        for axes, name in zip(panels[1:], shown, strict=False):
            keys = [(f"valid/segment/{name}", SOFT, "segments"),
                    (f"valid/recording/{name}", BLUE, "recordings")]  # fmt: skip
            _panel(axes, histories, keys, _TITLES[name])
            axes.set_ylim(-0.02, 1.02)
        for axes in panels[num:]:
            axes.set_visible(False)
        folds = f"{len(histories)} folds, thin; their mean, bold" if len(histories) > 1 else ""
        headline(figure, title, folds)


def _has(history: History, ending: str) -> bool:
    return any(key.endswith(ending) for key in history[0])


def _panel(
    axes: Axes, histories: Sequence[History], keys: Sequence[tuple[str, str, str]], title: str
) -> None:
    for key, colour, label in keys:
        lines = [_series(history, key) for history in histories]
        lines = [line for line in lines if len(line)]
        if not lines:
            continue
        alone = len(lines) == 1
        for line in lines:
            if not alone:
                axes.plot(line[:, 0], line[:, 1], color=colour, linewidth=0.8, alpha=0.4)
        mean = _mean(lines)
        axes.plot(mean[:, 0], mean[:, 1], color=colour, linewidth=2.2, label=label,
                  marker="o" if len(mean) < 3 else None)  # fmt: skip
    axes.set_title(title)
    axes.set_xlabel("epoch", color=INK)
    whole_numbers(axes)
    if max(len(history) for history in histories) == 1:
        axes.set_xlim(-0.5, 0.5)
    light_grid(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def _series(history: History, key: str) -> FloatArray:
    """Return [E, 2] of epoch and value, without epochs where the value is absent or not finite."""
    points = [(float(row.get("epoch", i)), float(row[key]))
              for i, row in enumerate(history) if key in row]  # fmt: skip
    array = np.array(points, dtype=np.float64).reshape(-1, 2)
    return array[np.isfinite(array[:, 1])]


def _mean(lines: Sequence[FloatArray]) -> FloatArray:
    """Return the mean over lines at the epochs that all of them have.

    Folds that stopped early are left out beyond their last epoch by stopping the mean there:
    a mean over fewer folds would jump for no reason of the model.
    """
    common = sorted(set.intersection(*[set(line[:, 0].tolist()) for line in lines]))
    if not common:
        return lines[0]
    kept = [line[np.isin(line[:, 0], common), 1] for line in lines]
    return np.column_stack([common, np.mean(kept, axis=0)])
