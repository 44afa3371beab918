"""Resampling with kept kernels, and windows of a recording at the wanted rate.

The kernels are torchaudio's. The native library sums only the taps that are not zero, in one order
for every output, so that a window has the very samples of the whole; without it torchaudio does.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torchaudio

from chirpid import native
from chirpid.native import resample as native_resample
from chirpid.native.resample import VERSION, Polyphase

FILTER_WIDTH = 16  # zero crossings on each side: stopband below -60 dB
ROLLOFF = 0.95
MAX_KERNEL = 5_000_000

Float32 = npt.NDArray[np.float32]


@lru_cache(maxsize=64)
def ratio(from_hz: int, to_hz: int) -> tuple[int, int]:
    """Return the reduced rates that the resampler works with, source before target.

    A kernel holds their product of numbers: gigabytes for rates without a common divisor. Such a
    pair, of an odd machine or a broken header, is replaced by the nearest that is small; within a
    window, pitch and time are then off by less than 0.03 %.
    """
    exact = Fraction(from_hz, to_hz)
    if exact.numerator * exact.denominator > MAX_KERNEL:
        exact = exact.limit_denominator(math.isqrt(int(MAX_KERNEL / exact)))
    return exact.numerator, exact.denominator


@lru_cache(maxsize=64)
def resampler(from_hz: int, to_hz: int) -> torchaudio.transforms.Resample:
    """Return the resampler of a pair of rates. Its kernel is computed once per process."""
    source, target = ratio(from_hz, to_hz)
    return torchaudio.transforms.Resample(
        source, target, lowpass_filter_width=FILTER_WIDTH, rolloff=ROLLOFF
    )


def implementation() -> str:
    """Return what resamples: "torch" or "native-1"; the number is that of the last bits."""
    return "torch" if native.handle() is None else VERSION


@lru_cache(maxsize=64)
def native_resampler(from_hz: int, to_hz: int) -> Polyphase | None:
    """Return the native resampler of a pair of rates; None where torch is at work, or nothing."""
    source, target = ratio(from_hz, to_hz)
    if native.handle() is None or source == target:
        return None
    made = resampler(from_hz, to_hz)
    return native_resample.polyphase(made.kernel[:, 0].numpy(), source=source, width=made.width)


def context_frames(from_hz: int, to_hz: int) -> int:
    """Return how many source frames beside a window its edges depend on.

    A multiple of the reduced source rate, so that the window starts on a whole output sample.
    """
    source, target = ratio(from_hz, to_hz)
    if source == target:
        return 0
    width = math.ceil(FILTER_WIDTH * source / (min(source, target) * ROLLOFF)) + 1
    return source * math.ceil(width / source)


def context_outputs(from_hz: int, to_hz: int) -> int:
    """Return how many samples at `to_hz` lie in the frames before a window."""
    source, target = ratio(from_hz, to_hz)
    return context_frames(from_hz, to_hz) // source * target


def source_span(start_frame: int, num_samples: int, *, from_hz: int, to_hz: int) -> tuple[int, int]:
    """Return (first frame, number of frames) to read for `num_samples` output samples.

    The span starts before the window by `context_frames`, so it may start below 0.
    """
    source, target = ratio(from_hz, to_hz)
    context = context_frames(from_hz, to_hz)
    length = -(-num_samples * source // target)
    return start_frame - context, length + 2 * context


def to_rate(frames: Float32, num_samples: int, *, from_hz: int, to_hz: int) -> torch.Tensor:
    """Return float32 [num_samples] at `to_hz` from the frames of `source_span`."""
    out = np.empty(num_samples, dtype=np.float32)
    to_rate_into(frames, out, from_hz=from_hz, to_hz=to_hz)
    return torch.from_numpy(out)


def to_rate_into(frames: Float32, out: Float32, *, from_hz: int, to_hz: int) -> None:
    """Fill `out` with samples at `to_hz` from the frames of `source_span`, both contiguous."""
    source, target = ratio(from_hz, to_hz)
    if source == target:
        out[:] = frames[: len(out)]
        return
    skip = context_outputs(from_hz, to_hz)
    polyphase = native_resampler(from_hz, to_hz)
    if polyphase is not None:
        polyphase.into(frames, skip, out)
    else:
        wave = resampler(from_hz, to_hz)(torch.from_numpy(frames)[None])[0]
        out[:] = wave[skip : skip + len(out)].numpy()
