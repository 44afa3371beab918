"""Which windows of a recording are used: length, overlap, padding, enough sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVEL_STEP_S = 0.25
"""Time step of the level curve that scanning a recording yields."""


@dataclass(frozen=True, slots=True)
class SegmentRule:
    """How recordings are cut; seconds and dBFS as in `conf/segment`."""

    duration_s: float = 5.0
    hop_s: float | None = None
    pad: bool = True
    min_tail_s: float = 1.0
    min_dbfs: float | None = -75.0
    max_below_peak_db: float | None = None
    max_per_recording: int | None = None

    @property
    def step_s(self) -> float:
        return self.duration_s if self.hop_s is None else self.hop_s


def all_starts(num_frames: int, sample_rate_hz: int, rule: SegmentRule) -> npt.NDArray[np.int64]:
    """Return the start frames of all windows, loud or not, int64 [n], ascending.

    A last window that reaches over the end is kept if it holds at least `min_tail_s` of sound, or
    if it is the only one; with `pad=False` only whole windows are kept.
    """
    window = round(rule.duration_s * sample_rate_hz)
    step = max(1, round(rule.step_s * sample_rate_hz))
    starts = np.arange(0, max(num_frames, 1), step, dtype=np.int64)
    sound = np.minimum(num_frames - starts, window)
    if not rule.pad:
        return starts[sound >= window]
    # A tail that the window before already covers whole adds nothing.
    fresh = np.where(starts == 0, sound, np.minimum(sound, num_frames - (starts - step) - window))
    keep = (sound == window) | (fresh >= rule.min_tail_s * sample_rate_hz)
    keep[0] = num_frames > 0
    kept: npt.NDArray[np.int64] = starts[keep]
    return kept


def window_levels(
    starts: npt.NDArray[np.int64],
    sample_rate_hz: int,
    duration_s: float,
    levels_dbfs: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return the level of the loudest quarter second in each window, dBFS [n]."""
    first = np.floor(starts / sample_rate_hz / LEVEL_STEP_S).astype(int)
    last = np.ceil((starts / sample_rate_hz + duration_s) / LEVEL_STEP_S).astype(int)
    last = np.minimum(last, len(levels_dbfs))
    return np.array(
        [levels_dbfs[a:b].max(initial=-120.0) for a, b in zip(first, last, strict=True)],
        dtype=np.float64,
    )


def segment_starts(
    num_frames: int,
    sample_rate_hz: int,
    levels_dbfs: npt.NDArray[np.float32] | None,
    rule: SegmentRule,
) -> npt.NDArray[np.int64]:
    """Return the start frames of the windows with enough sound, int64 [n], ascending.

    Args:
        levels_dbfs: RMS level per `LEVEL_STEP_S`; None where it is not known, which keeps all.
    """
    starts = all_starts(num_frames, sample_rate_hz, rule)
    if levels_dbfs is None or len(starts) == 0:
        return starts[: rule.max_per_recording]
    level = window_levels(starts, sample_rate_hz, rule.duration_s, levels_dbfs)
    keep = np.ones(len(starts), dtype=bool)
    if rule.min_dbfs is not None:
        keep &= level >= rule.min_dbfs
    if rule.max_below_peak_db is not None:
        keep &= level >= level.max() - rule.max_below_peak_db
    starts, level = starts[keep], level[keep]
    if rule.max_per_recording is not None:
        loudest = np.argsort(-level, kind="stable")[: rule.max_per_recording]
        starts = np.sort(starts[loudest])
    return starts
