"""Figures without pyplot: no global state, no display, files written whole or not at all."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chirpid.storage.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart by colour-blind readers, and in grey.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
INK = "#222222"
FADED = "#5A5A5A"
SOFT = "#8A8A8A"
PALE = "#E4E4E4"
CYCLE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, "#7F6A00", INK)

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": PALE,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "text.parse_math": False,  # a "$" in a class name is a dollar sign
}


@contextlib.contextmanager
def drawing(path: Path, width_in: float, height_in: float, *, dpi: int = 144) -> Iterator[Figure]:
    """Give a figure in the house style and save it as PNG in `path` when the block ends well.

    Raises:
        StorageError: the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes, which says it already.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width_in, height_in), dpi=dpi, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with replacing(path) as handle:
            figure.savefig(handle, format="png", facecolor="white")


def headline(figure: Figure, title: str, note: str = "") -> None:
    """Put a title at the top left, with a softer second line below it, or several."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width_in, height_in = figure.get_size_inches()
    room_in = 0.32 + (0.2 + 0.15 * note.count("\n") if note else 0.0)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, 0, 1, 1 - room_in / height_in))
    left = 0.08 / width_in
    figure.text(left, 1 - 0.07 / height_in, title, va="top", fontsize=11, fontweight="bold",
                color=INK)  # fmt: skip
    figure.text(left, 1 - 0.28 / height_in, note, va="top", fontsize=9, color=FADED)


def light_grid(axes: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Draw a faint grid behind the data, along one axis."""
    axes.grid(True, axis=axis, linewidth=0.7)
    axes.set_axisbelow(True)


def whole_numbers(axes: Axes) -> None:
    """Put the ticks of the x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def shortened(text: str, limit: int) -> str:
    """Return `text` with its middle left out where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
