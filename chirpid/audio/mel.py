"""Mel power in torch: in batches with gradients anywhere, or one clip after the other on a CPU.

B batch, T samples, M mel bands, K bins, F frames
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

BLOCK_BANDS = 16
BLOCK_FRAMES = 512
"""Frames that are transformed at once: what is kept for it does not grow with the clip."""


def mel_power(wave_BT: Tensor, window_N: Tensor, mel_MK: Tensor, hop_samples: int) -> Tensor:
    """Return the power of each band and frame, float32 [B, M, F], F = 1 + T // hop_samples."""
    spectrum = torch.stft(
        wave_BT,
        len(window_N),
        hop_samples,
        window=window_N,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return mel_MK @ (spectrum.real.square() + spectrum.imag.square())


class BandedMel:
    """Mel power of one clip at a time, about three times as fast on a CPU; without gradients.

    A band covers few bins: neighbouring bands are multiplied with the bins that they cover, not
    with all. Buffers are kept, one set per thread: fresh ones of this size cost page faults.
    """

    def __init__(self, window_N: Tensor, mel_MK: Tensor, hop_samples: int) -> None:
        self.window_N, self.hop_samples = window_N, hop_samples
        self.num_mels = len(mel_MK)
        self.blocks = [
            block
            for first in range(0, self.num_mels, BLOCK_BANDS)
            if (block := _block(mel_MK, first)) is not None
        ]
        self._kept = threading.local()

    def write(self, wave_T: Tensor, out_MF: Tensor) -> None:
        """Write the power of each band and frame of one clip, on one thread or several."""
        padded = self._padded(wave_T)
        num_fft, num_frames = len(self.window_N), out_MF.shape[1]
        frames_FN = padded.as_strided((num_frames, num_fft), (self.hop_samples, 1))
        windowed, spectrum = self._buffers(min(num_frames, BLOCK_FRAMES))
        out_MF.zero_()
        for first in range(0, num_frames, BLOCK_FRAMES):
            end = min(first + BLOCK_FRAMES, num_frames)
            num = end - first
            torch.mul(frames_FN[first:end], self.window_N, out=windowed[:num])
            torch.fft.rfft(windowed[:num], out=spectrum[:num])
            squares = torch.view_as_real(spectrum[:num]).flatten(1).square_()
            for bands, bins, weights in self.blocks:
                torch.mm(weights, squares[:, bins].T, out=out_MF[bands, first:end])

    def _padded(self, wave_T: Tensor) -> Tensor:
        """Return the clip reflected at both ends by half a window, as `torch.stft` does."""
        half, length = len(self.window_N) // 2, len(wave_T)
        kept: Tensor | None = getattr(self._kept, "padded", None)
        if kept is None or len(kept) != length + 2 * half:
            with torch.inference_mode(False):  # it outlives the mode of the caller
                kept = torch.empty(length + 2 * half)
            self._kept.padded = kept
        kept[half : half + length] = wave_T
        kept[:half] = wave_T[1 : half + 1].flip(0)
        kept[half + length :] = wave_T[length - half - 1 : length - 1].flip(0)
        return kept

    def _buffers(self, num_frames: int) -> tuple[Tensor, Tensor]:
        kept: tuple[Tensor, Tensor] | None = getattr(self._kept, "buffers", None)
        if kept is None or len(kept[0]) < num_frames:
            num_fft = len(self.window_N)
            with torch.inference_mode(False):
                kept = (
                    torch.empty(num_frames, num_fft),
                    torch.empty(num_frames, num_fft // 2 + 1, dtype=torch.complex64),
                )
            self._kept.buffers = kept
        return kept


def _block(mel_MK: Tensor, first: int) -> tuple[slice, slice, Tensor] | None:
    """Return bands, bins and weights [bands, 2 bins]: real and imaginary parts are side by side."""
    bands_mK = mel_MK[first : first + BLOCK_BANDS]
    covered = bands_mK.any(dim=0).nonzero()
    if len(covered) == 0:
        return None
    low, high = int(covered[0]), int(covered[-1]) + 1
    weights = bands_mK[:, low:high].repeat_interleave(2, dim=1)
    return slice(first, first + len(bands_mK)), slice(2 * low, 2 * high), weights
