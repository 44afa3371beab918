"""A sheet of spectrograms as the model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chirpid.reports.canvas import drawing, headline, shortened
from chirpid.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4


def spectrogram_sheet(
    specs_NMF: npt.NDArray[np.float32],
    titles: Sequence[str],
    path: Path,
    *,
    hop_s: float,
    mel_hz: FloatArray | None = None,
    title: str = "What the model sees",
    unit: str = "normalised",
) -> None:
    """Draw N spectrograms on one colour scale, four to a row.

    Args:
        specs_NMF: float [N, M, F].
        titles: N lines, one above each.
        hop_s: time from frame to frame.
        mel_hz: centre frequencies [M] of the bands, for the axis; None numbers the bands.
        unit: what the colour bar shows.
    Raises:
        ValueError: shapes do not fit, or N is 0.
        StorageError: the file cannot be written.
    """
    specs = np.asarray(specs_NMF, dtype=np.float32)
    if specs.ndim != 3 or len(specs) == 0 or len(titles) != len(specs):
        raise ValueError(f"specs {specs.shape} and {len(titles)} titles do not fit.")
    low, high = _limits(specs)
    columns = min(_COLUMNS, len(specs))
    rows = -(-len(specs) // columns)
    with drawing(path, 3.0 * columns + 1.1, 1.75 * rows + 0.9) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        panels = grid.ravel()
        image = None
        seconds = specs.shape[2] * hop_s
        for axes, spec, line in zip(panels, specs, titles, strict=False):
            image = axes.imshow(spec, origin="lower", aspect="auto", cmap="magma", vmin=low,
                                vmax=high, interpolation="nearest",
                                extent=(0, seconds, -0.5, len(spec) - 0.5))  # fmt: skip
            axes.set_title(shortened(line, 46), fontsize=7.5, fontweight="normal")
        for axes in panels[len(specs) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            _frequency_axis(axes, specs.shape[1], mel_hz)
        for column in range(columns):
            last = max(row for row in range(rows) if row * columns + column < len(specs))
            grid[last, column].set_xlabel("s")
            grid[last, column].tick_params(labelbottom=True)
        assert image is not None
        bar = figure.colorbar(image, ax=grid, fraction=0.02, pad=0.01, aspect=40)
        bar.set_label(unit)
        bar.outline.set_visible(False)
        headline(figure, title)


def _limits(specs: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return a colour range without the outermost values, never empty."""
    finite = specs[np.isfinite(specs)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(finite, (1.0, 99.7)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _frequency_axis(axes: Axes, num_mels: int, mel_hz: FloatArray | None) -> None:
    if mel_hz is None:
        axes.set_ylabel("band")
        return
    wanted = np.array([250, 500, 1000, 2000, 4000, 8000, 12000, 16000, 24000], dtype=np.float64)
    wanted = wanted[(wanted >= mel_hz[0]) & (wanted <= mel_hz[-1])]
    bands = np.interp(wanted, mel_hz, np.arange(num_mels))
    # Low bands lie close together: keep ticks that are an eighth of the axis apart, top first.
    kept: list[int] = []
    for index in range(len(wanted) - 1, -1, -1):
        if not kept or bands[kept[-1]] - bands[index] >= num_mels / 8:
            kept.append(index)
    axes.set_yticks(bands[kept], [f"{wanted[i] / 1000:g}" for i in kept])
    axes.set_ylabel("kHz")
