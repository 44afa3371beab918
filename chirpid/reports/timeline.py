"""Where the time of an epoch went: waiting for the loader, or stepping the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chirpid.loading.monitor import Recording
from chirpid.loading.monitor.trace import Curve, curves
from chirpid.reports.canvas import (
    BLUE,
    GREEN,
    PALE,
    SOFT,
    VERMILION,
    drawing,
    headline,
    light_grid,
    whole_numbers,
)
from chirpid.reports.lanes import draw_lanes, lanes_of
from chirpid.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 300
_LEAST_SAMPLES = 5
_STARVING, _HUNGRY, _NO_REST = 0.2, 0.05, 0.8


def wait_share(timeline_B3: FloatArray) -> float:
    """Return blocked time over the time from the first request to the end of the last step."""
    if not len(timeline_B3):
        return 0.0
    whole = float(timeline_B3[-1, 2] - timeline_B3[0, 0])
    return float((timeline_B3[:, 1] - timeline_B3[:, 0]).sum()) / whole if whole > 0 else 0.0


def loader_timeline(recording: Recording, path: Path, *, title: str = "Loader") -> None:
    """Draw an epoch: as shares over time, batch by batch, and some batches with all who made them.

    Orange-red is time in which the model waited for a batch; blue is time in which it worked.

    Raises:
        ValueError: no batch, or times that run backwards.
        StorageError: the file cannot be written.
    """
    times = np.asarray(recording.timeline_B3, dtype=np.float64)
    if times.ndim != 2 or times.shape[1] != 3 or not len(times):
        raise ValueError(f"timeline_B3 has shape {times.shape}, expected [B, 3] with B > 0.")
    if (np.diff(times.ravel()) < -1e-9).any():
        raise ValueError("timeline_B3 runs backwards.")
    curves = curves_to_draw(recording)
    heights = [1.2, *([0.55] * len(curves)), 1.1, 0.6 + 0.22 * len(lanes_of(recording))]
    with drawing(path, 10.0, 1.4 + 1.3 * sum(heights)) as figure:
        shares, *rows, batches, lanes = figure.subplots(len(heights), 1, height_ratios=heights)
        _draw_shares(shares, times)
        for axes, curve in zip(rows, curves, strict=True):
            _draw_curve(axes, curve, times)
        _draw_batches(batches, times)
        draw_lanes(lanes, recording)
        busy = busy_share(recording)
        details = _details(times) + (f" · workers busy {100 * busy:.0f} %" if busy else "")
        headline(figure, f"{title}: {verdict(wait_share(times), busy)}", details)


def curves_to_draw(recording: Recording) -> list[Curve]:
    """Return the curves that say something: of a short epoch there are no samples to speak of."""
    enough = len(recording.samples_AU) >= _LEAST_SAMPLES
    return [
        curve
        for curve in curves(recording)
        if curve.name == "batches" or (enough and curve.name in ("cores", "GPU"))
    ]


def verdict(share: float, busy: float = 0.0) -> str:
    """Return a wait share in words.

    Args:
        busy: share of the time in which the workers made batches. Where they have no rest, the
            model may be as slow as they are without waiting: on a CPU they take its cores.
    """
    waited = f"the model waited for data {100 * share:.1f} % of the time"
    if share >= _STARVING:
        return f"STARVING, {waited}"
    if share >= _HUNGRY:
        return f"hungry at times, {waited}"
    return f"just fed, {waited}" if busy >= _NO_REST else f"well fed, {waited}"


def busy_share(recording: Recording) -> float:
    """Return the share of the time in which workers made batches, over what is kept; 0: none."""
    made, times = recording.worker_S >= 0, recording.timeline_B3[recording.first_kept :]
    whole = float(times[-1, 2] - times[0, 0]) * max(1, len(recording.workers))
    return min(1.0, float(np.diff(recording.span_S2[made]).sum()) / max(whole, 1e-9))


def _details(times: FloatArray) -> str:
    waits_ms = (times[:, 1] - times[:, 0]) * 1e3
    first = times[0, 1] - times[0, 0]
    batches = "1 batch" if len(times) == 1 else f"{len(times)} batches"
    return (
        f"{batches} in {times[-1, 2] - times[0, 0]:.2f} s · wait median {np.median(waits_ms):.1f}"
        f" ms, p95 {np.percentile(waits_ms, 95):.1f} ms · first batch {first:.2f} s"
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


def _draw_curve(axes: Axes, curve: Curve, times: FloatArray) -> None:
    from matplotlib.ticker import MaxNLocator

    ready = curve.name == "batches"
    at = np.append(curve.times_s, max(times[-1, 2], curve.times_s[-1]))
    axes.stairs(curve.values, at, fill=True, color=GREEN if ready else SOFT)
    axes.set(xlim=(times[0, 0], times[-1, 2]), ylim=(0, max(1.0, 1.1 * float(curve.values.max()))))
    axes.set_title("finished batches that lie ready" if ready else f"{curve.name} ({curve.unit})")
    axes.tick_params(labelbottom=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, min_n_ticks=1))
