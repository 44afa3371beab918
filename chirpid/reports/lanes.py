"""Who did what, one lane each: the model, and below it the workers that feed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chirpid.loading.monitor import Recording
from chirpid.loading.stages import label
from chirpid.reports.canvas import BLUE, GREEN, ORANGE, PALE, PURPLE, SKY, SOFT, VERMILION
from chirpid.types import FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STAGE_COLOURS = {"read": "#7F6A00", "decode": ORANGE, "resample": PURPLE, "frontend": GREEN,
                 "gather": SKY}  # fmt: skip
MOST_LANES = 16
_NUM_BATCHES = 24
_LOOP_HEIGHT, _GAP = 1.6, 0.25


def lanes_of(recording: Recording) -> list[int]:
    """Return the workers that have a lane. -1, the training loop, has one if it makes batches."""
    return sorted(set(recording.worker_S.tolist()))[:MOST_LANES]


def window(recording: Recording, num_batches: int = _NUM_BATCHES) -> tuple[int, int]:
    """Return the first and the last-but-one batch of what is drawn: the middle of what is kept."""
    first, end = recording.first_kept, len(recording.timeline_B3)
    middle = (first + end) // 2
    low = max(first, min(middle - num_batches // 2, end - num_batches))
    return low, min(end, low + num_batches)


def draw_lanes(axes: Axes, recording: Recording) -> None:
    """Draw the batches in the middle of an epoch: the model on top, each worker below."""
    low, end = window(recording)
    times = recording.timeline_B3[low:end]
    begin_s, end_s = float(times[0, 0]), max(float(times[-1, 2]), float(times[0, 0]) + 1e-9)
    lanes = lanes_of(recording)
    _draw_model(axes, times, bottom=len(lanes) + _GAP)
    for place, worker in enumerate(lanes):
        bottom = len(lanes) - 1 - place + _GAP / 2
        height = 1 - _GAP
        axes.broken_barh([(begin_s, end_s - begin_s)], (bottom, height), color=PALE, linewidth=0)
        _draw_worker(axes, recording, worker, (begin_s, end_s), (bottom, height))
    names = ["model", *("loading" if worker < 0 else f"worker {worker}" for worker in lanes)]
    heights = [
        len(lanes) + _GAP + _LOOP_HEIGHT / 2,
        *(len(lanes) - n - 0.5 for n in range(len(lanes))),
    ]
    axes.set_yticks(heights, names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlim=(begin_s, end_s), ylim=(0, len(lanes) + _GAP + _LOOP_HEIGHT),
             xlabel="s since the epoch began")  # fmt: skip
    whole = (low, end) == (0, len(recording.timeline_B3))
    axes.set_title("all batches" if whole else f"batches {low} to {end - 1}, in the middle")
    if lanes:
        _legend(axes, recording)


def _draw_model(axes: Axes, times: FloatArray, *, bottom: float) -> None:
    place = (bottom, _LOOP_HEIGHT)
    waits = list(zip(times[:, 0], times[:, 1] - times[:, 0], strict=True))
    steps = list(zip(times[:, 1], times[:, 2] - times[:, 1], strict=True))
    axes.broken_barh(steps, place, color=BLUE, edgecolor="white", linewidth=0.4)
    axes.broken_barh(waits, place, color=VERMILION, linewidth=0)


def _draw_worker(
    axes: Axes, recording: Recording, worker: int, span: tuple[float, float],
    place: tuple[float, float],
) -> None:  # fmt: skip
    spans = recording.span_S2
    seen = (recording.worker_S == worker) & (spans[:, 1] > span[0]) & (spans[:, 0] < span[1])
    which: IntArray = np.flatnonzero(seen)
    begins, ends = spans[which, 0], spans[which, 1]
    axes.broken_barh(list(zip(begins, ends - begins, strict=True)), place, color=SOFT, linewidth=0)
    for number, name in enumerate(recording.stages):
        took = np.minimum(recording.stage_SK[which, number], ends - begins)
        bars = list(zip(begins, took, strict=True))
        axes.broken_barh(bars, place, color=STAGE_COLOURS.get(name, SOFT), linewidth=0)
        begins = begins + took


def _legend(axes: Axes, recording: Recording) -> None:
    from matplotlib.patches import Patch

    seconds = dict(zip(recording.stages, recording.stage_SK.sum(axis=0).tolist(), strict=True))
    seen_s = 1e-3 * sum(seconds.values())
    known = [name for name in STAGE_COLOURS if seconds.get(name, 0.0) > seen_s]
    patches = [Patch(color=STAGE_COLOURS[n], label=label(n)) for n in known]
    patches += [Patch(color=SOFT, label="else"), Patch(color=PALE, label="idle")]
    axes.legend(handles=patches, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(patches),
                borderaxespad=0.1, handlelength=1.2, columnspacing=1.2)  # fmt: skip
