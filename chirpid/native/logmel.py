"""Mel spectra by the native library: a plan per setting, and its run over clips.

Arrays come as numpy, tensors by their address: nothing here imports torch.
"""

from __future__ import annotations

import ctypes
import weakref

import numpy as np
from numpy.typing import NDArray

from chirpid.native.function import ADDRESS, FLOAT, INT, LONG, Function

VERSION = "native-1"
"""Counts up with any change of the last bits: stores of another version are made anew."""
MIN_FFT, MAX_FFT = 64, 8192

_plan = Function("logmel_plan", INT, INT, INT, ADDRESS, ADDRESS, INT, FLOAT, FLOAT, ADDRESS)
_free = Function("logmel_free", ADDRESS, result=None)
_run = Function("logmel", ADDRESS, ADDRESS, LONG, LONG, INT, ADDRESS)


def supports(fft_samples: int) -> bool:
    """Return whether the kernel has this size: a power of two from 64 to 8192."""
    return MIN_FFT <= fft_samples <= MAX_FFT and fft_samples & (fft_samples - 1) == 0


class MelPlan:
    """Twiddles, window and bands of one setting. Any number of threads may run it at once.

    Args:
        window: float32 [N], N a power of two from 64 to 8192.
        mel_MK: float32 [M, N // 2 + 1], the weight of each bin in each band.
        min_power: results are 10 log10(max(power, min_power)) in dB, not below `floor_db`;
            None for the power itself.
    Raises:
        MemoryError: there is no room for the plan.
    """

    def __init__(
        self,
        window: NDArray[np.float32],
        mel_MK: NDArray[np.float32],
        *,
        hop_samples: int,
        min_power: float | None,
        floor_db: float = 0.0,
    ) -> None:
        window = np.ascontiguousarray(window, np.float32)
        mel_MK = np.ascontiguousarray(mel_MK, np.float32)
        assert mel_MK.shape[1] == len(window) // 2 + 1
        plan = ctypes.c_void_p()
        _plan(
            len(window), hop_samples, len(mel_MK), window.ctypes.data, mel_MK.ctypes.data,
            min_power is not None, min_power or 0.0, floor_db, ctypes.byref(plan),
        )  # fmt: skip
        self._plan = plan
        # Not at the end of the program, when a thread may still be at work with it.
        weakref.finalize(self, _free.raw, plan).atexit = False

    @property
    def address(self) -> int:
        """Of the native plan, which lives as long as this."""
        assert self._plan.value is not None
        return self._plan.value

    def run(
        self, waves: int, out: int, *, num_clips: int, num_samples: int, num_threads: int = 1
    ) -> None:
        """Write the spectra of float32 [B, T] at address `waves` to float32 [B, M, F] at `out`.

        F = 1 + num_samples // hop. The bits of a clip depend on nothing but its samples.

        Raises:
            MemoryError: there is no room to work in.
        """
        _run(self._plan, waves, num_clips, num_samples, num_threads, out)
