"""Mel spectra from the definition, in float64, for tests."""

from __future__ import annotations

import numpy as np


def reference_power(
    wave: np.ndarray, *, rate_hz: int, fft: int, hop: int, mels: int, fmin: float, fmax: float
) -> np.ndarray:
    """Mel power [M, F] from the definition: Hann window, DFT, triangles on the HTK scale."""
    num_frames = 1 + len(wave) // hop
    wave = np.pad(wave.astype(np.float64), fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft) / fft)
    window *= 2 / window.sum()
    frames = np.lib.stride_tricks.sliding_window_view(wave, fft)[::hop][:num_frames]
    power = np.abs(np.fft.rfft(frames * window, axis=1).T) ** 2

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 2595 * np.log10(1 + np.asarray(hz) / 700)

    points = 700 * (10 ** (np.linspace(mel(fmin), mel(fmax), mels + 2) / 2595) - 1)
    bins = np.linspace(0, rate_hz / 2, fft // 2 + 1)
    rising = (bins[None] - points[:-2, None]) / np.diff(points)[:-1, None]
    falling = (points[2:, None] - bins[None]) / np.diff(points)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) @ power
