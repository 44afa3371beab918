"""Resampling with the weights of a torchaudio kernel, many outputs at a time."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from chirpid.native.function import ADDRESS, LONG, Function
from chirpid.native.library import handle

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

VERSION = "native-1"
"""Counts up with any change of the last bits: stores of another version are made anew."""
LANES = 16
MOST_OUTPUTS = 256
"""A frame is repeated up to about so many outputs, where that leaves fewer lanes idle."""

_resample = Function("resample", ADDRESS, ADDRESS, LONG, LONG, LONG, ADDRESS)


class _Plan(ctypes.Structure):
    _fields_ = [
        ("inputs_per_frame", ctypes.c_int64),
        ("outputs_per_frame", ctypes.c_int64),
        ("first_input", ctypes.c_int64),
        ("num_inputs", ctypes.c_int64),
        ("input_at", ctypes.c_void_p),
        ("num_taps", ctypes.c_void_p),
        ("weight_at", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
    ]


class Polyphase:
    """Resamples by a ratio of whole numbers. For any number of threads at once.

    Args:
        kernel: float32 [target, taps]; output k * target + p is the sum over j of
            kernel[p, j] * input[k * source - width + j], inputs beyond the ends being 0.
    """

    def __init__(self, kernel: Float32, *, source: int, width: int) -> None:
        repeats = _repeats(len(kernel))
        first, stop = _bands(kernel)
        shift = np.arange(repeats)[:, None] * source - width
        starts, stops = (shift + first).ravel(), (shift + stop).ravel()
        groups = np.arange(0, len(starts), LANES)
        input_at = np.minimum.reduceat(starts, groups)
        num_taps = np.maximum.reduceat(stops, groups) - input_at
        self._arrays = (
            input_at - input_at.min(),
            num_taps,
            LANES * np.concatenate([[0], np.cumsum(num_taps)[:-1]]),
            _weights(kernel, starts, stops, first, input_at, num_taps),
        )
        plan = _Plan(
            repeats * source,
            repeats * len(kernel),
            int(input_at.min()),
            int((input_at + num_taps).max() - input_at.min()),
            *(array.ctypes.data for array in self._arrays),
        )
        self._plan, self.address = plan, ctypes.addressof(plan)

    def into(self, frames: Float32, first_output: int, out: Float32) -> None:
        """Write outputs from `first_output` on into `out`, both arrays float32 and contiguous."""
        _resample(
            self.address, frames.ctypes.data, len(frames), first_output, len(out), out.ctypes.data
        )


def polyphase(kernel: Float32, *, source: int, width: int) -> Polyphase | None:
    """Return the native resampler of a kernel, or None where there is no native library."""
    if handle() is None:
        return None
    return Polyphase(kernel, source=source, width=width)


def _repeats(target: int) -> int:
    """Return how often to repeat a frame of `target` outputs so that few lanes are idle."""
    most = max(1, MOST_OUTPUTS // target)
    return min(range(1, most + 1), key=lambda n: -(-n * target // LANES) / n)


def _bands(kernel: Float32) -> tuple[Int64, Int64]:
    """Return the first tap of each phase that is not 0, and the end of the last, int64 [target]."""
    used = kernel != 0
    first = used.argmax(axis=1)
    stop = kernel.shape[1] - used[:, ::-1].argmax(axis=1)
    return first, stop


def _weights(
    kernel: Float32, starts: Int64, stops: Int64, first: Int64, input_at: Int64, num_taps: Int64
) -> Float32:
    """Return [taps, LANES] of each group, one after the other."""
    parts = []
    for group, (at, taps) in enumerate(zip(input_at, num_taps, strict=True)):
        part = np.zeros((taps, LANES), dtype=np.float32)
        for lane, row in enumerate(range(group * LANES, min((group + 1) * LANES, len(starts)))):
            begin, count, phase = starts[row] - at, stops[row] - starts[row], row % len(kernel)
            part[begin : begin + count, lane] = kernel[phase, first[phase] : first[phase] + count]
        parts.append(part.ravel())
    return np.concatenate(parts)
