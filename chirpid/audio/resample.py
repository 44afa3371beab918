"""Resampling with kept kernels, and windows of a recording at the wanted rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torchaudio

FILTER_WIDTH = 16  # zero crossings on each side: stopband below -60 dB
ROLLOFF = 0.95

ReadFrames = Callable[[int, int], npt.NDArray[np.float32]]


@lru_cache(maxsize=64)
def resampler(from_hz: int, to_hz: int) -> torchaudio.transforms.Resample:
    """Return the resampler of a pair of rates. Its kernel is computed once per process."""
    return torchaudio.transforms.Resample(
        from_hz, to_hz, lowpass_filter_width=FILTER_WIDTH, rolloff=ROLLOFF
    )


def context_frames(from_hz: int, to_hz: int) -> int:
    """Return how many source frames beside a window its edges depend on.

    A multiple of the reduced source rate, so that the window starts on a whole output sample.
    """
    if from_hz == to_hz:
        return 0
    step = from_hz // math.gcd(from_hz, to_hz)
    width = math.ceil(FILTER_WIDTH * from_hz / (min(from_hz, to_hz) * ROLLOFF)) + 1
    return step * math.ceil(width / step)


def source_span(start_frame: int, num_samples: int, *, from_hz: int, to_hz: int) -> tuple[int, int]:
    """Return (first frame, number of frames) to read for `num_samples` output samples.

    The span starts before the window by `context_frames`, so it may start below 0.
    """
    context = context_frames(from_hz, to_hz)
    length = math.ceil(num_samples * from_hz / to_hz)
    return start_frame - context, length + 2 * context


def to_rate(
    frames: npt.NDArray[np.float32], num_samples: int, *, from_hz: int, to_hz: int
) -> torch.Tensor:
    """Return float32 [num_samples] at `to_hz` from the frames of `source_span`."""
    wave = torch.from_numpy(frames)
    if from_hz == to_hz:
        return wave[:num_samples]
    skip = context_frames(from_hz, to_hz) * to_hz // from_hz
    out: torch.Tensor = resampler(from_hz, to_hz)(wave[None])[0]
    return out[skip : skip + num_samples]
