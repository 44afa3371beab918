"""Where the time of an epoch went: waiting for the loader, or stepping the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chirpid.reports.canvas import (
    BLUE,
    PALE,
    VERMILION,
    drawing,
    headline,
    light_grid,
    whole_numbers,
)
from chirpid.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 300
_ZOOM_BATCHES = 24


def wait_share(timeline_B3: FloatArray) -> float:
    """Return blocked time over the time from the first request to the end of the last step."""
    if not len(timeline_B3):
        return 0.0
    whole = float(timeline_B3[-1, 2] - timeline_B3[0, 0])
    return float((timeline_B3[:, 1] - timeline_B3[:, 0]).sum()) / whole if whole > 0 else 0.0


def loader_timeline(timeline_B3: FloatArray, path: Path, *, title: str = "Loader") -> None:
    """Draw an epoch three times: as shares over time, batch by batch, and its first batches.

    Orange-red is time in which the model waited for a batch; blue is time in which it worked.

    Args:
        timeline_B3: float64 [B, 3], seconds from the start of the epoch at which a batch was
            asked for, was there, and its step was done.
    Raises:
        ValueError: no batch, or times that run backwards.
        StorageError: the file cannot be written.
    """
    times = np.asarray(timeline_B3, dtype=np.float64)
    if times.ndim != 2 or times.shape[1] != 3 or not len(times):
        raise ValueError(f"timeline_B3 has shape {times.shape}, expected [B, 3] with B > 0.")
    if (np.diff(times.ravel()) < -1e-9).any():
        raise ValueError("timeline_B3 runs backwards.")
    with drawing(path, 10.0, 5.4) as figure:
        shares, batches, zoom = figure.subplots(3, 1, height_ratios=(1.2, 1.5, 0.55))
        _draw_shares(shares, times)
        _draw_batches(batches, times)
        _draw_zoom(zoom, times[:_ZOOM_BATCHES])
        headline(figure, title, _verdict(times))


def _verdict(times: FloatArray) -> str:
    waits_ms = (times[:, 1] - times[:, 0]) * 1e3
    first = times[0, 1] - times[0, 0]
    batches = "1 batch" if len(times) == 1 else f"{len(times)} batches"
    return (
        f"waiting {100 * wait_share(times):.1f} % of {times[-1, 2] - times[0, 0]:.2f} s"
        f" · {batches} · wait median {np.median(waits_ms):.1f} ms,"
        f" p95 {np.percentile(waits_ms, 95):.1f} ms · first batch {first:.2f} s"
    )


def binned_shares(times: FloatArray, num_bins: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return bin edges [n + 1] and, per bin [n], the shares of time waiting and working."""
    edges = np.linspace(times[0, 0], max(times[-1, 2], times[0, 0] + 1e-9), num_bins + 1)
    width = edges[1] - edges[0]

    def covered(starts: FloatArray, ends: FloatArray) -> FloatArray:
        # Total covered time up to each edge is piecewise linear in the sorted interval ends.
        corners = np.column_stack([starts, ends]).ravel()
        before = np.cumsum(np.column_stack([np.zeros(len(starts)), ends - starts]).ravel())
        return np.asarray(np.diff(np.interp(edges, corners, before)) / width)

    return edges, covered(times[:, 0], times[:, 1]), covered(times[:, 1], times[:, 2])


def _draw_shares(axes: Axes, times: FloatArray) -> None:
    edges, waiting, working = binned_shares(times, _BINS)
    axes.set_facecolor(PALE)
    axes.stairs(working, edges, fill=True, color=BLUE, label="working")
    axes.stairs(working + waiting, edges, baseline=working, fill=True, color=VERMILION,
                label="waiting for a batch")  # fmt: skip
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1), xlabel="s since the epoch began")
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.set_title("share of the time")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)


def _draw_batches(axes: Axes, times: FloatArray) -> None:
    number = np.arange(len(times))
    wait_ms = np.maximum((times[:, 1] - times[:, 0]) * 1e3, 1e-3)
    step_ms = np.maximum((times[:, 2] - times[:, 1]) * 1e3, 1e-3)
    size = 9.0 if len(times) < 400 else 3.0
    axes.scatter(number, step_ms, s=size, color=BLUE, linewidths=0)
    axes.scatter(number, wait_ms, s=size, color=VERMILION, linewidths=0)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.set_xlim(-0.5, len(times) - 0.5)
    axes.set_ylabel("ms")
    axes.set_xlabel("batch")
    axes.set_title("each batch")
    whole_numbers(axes)
    light_grid(axes)


def _draw_zoom(axes: Axes, times: FloatArray) -> None:
    waits = [(row[0], row[1] - row[0]) for row in times]
    steps = [(row[1], row[2] - row[1]) for row in times]
    axes.set_facecolor(PALE)
    axes.broken_barh(steps, (0, 1), color=BLUE, edgecolor="white", linewidth=0.5)
    axes.broken_barh(waits, (0, 1), color=VERMILION, linewidth=0)
    axes.set(xlim=(times[0, 0], times[-1, 2]), ylim=(0, 1), yticks=[])
    axes.set_xlabel("s since the epoch began")
    axes.set_title(f"the first {len(times)} batches" if len(times) > 1 else "the first batch")
