"""Waveform to spectrogram: log-mel and PCEN, as a module that ships inside the trained model.

B batch, T samples, M mel bands, F frames
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torchaudio
from torch import Tensor, nn

MIN_POWER = 1e-10
MOST_TOP_DB = 100.0
"""The floor that `MIN_POWER` sets, whatever `top_db` is."""
BLOCK_FRAMES = 2048
"""PCEN smooths at most this many frames in one product."""


class FrontEnd(nn.Module):
    """Turn float32 waveforms [B, T] in [-1, 1] into spectrograms [B, M, F], F = 1 + T // hop.

    Log-mel values are in dB re full scale (a full-scale sine reads 0 dB in its band), floored at
    `-top_db`. PCEN values are positive numbers without unit.

    Raises:
        ValueError: the waveform is shorter than one analysis window.
    Source: HTK mel scale (O'Shaughnessy, 1987); PCEN of Wang et al. (2017), arXiv:1607.05666, with
        the bioacoustic settings of Lostanlen et al. (2019), doi:10.1109/LSP.2018.2878620.
    """

    def __init__(
        self,
        *,
        kind: str,
        sample_rate_hz: int,
        fft_samples: int,
        hop_samples: int,
        num_mels: int,
        fmin_hz: float,
        fmax_hz: float,
        top_db: float = 100.0,
        pcen_time_constant_s: float = 0.4,
        pcen_gain: float = 0.98,
        pcen_bias: float = 2.0,
        pcen_power: float = 0.5,
        pcen_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.sample_rate_hz = sample_rate_hz
        self.fft_samples = fft_samples
        self.hop_samples = hop_samples
        self.num_mels = num_mels
        self.top_db = top_db
        self.pcen_gain, self.pcen_bias = pcen_gain, pcen_bias
        self.pcen_power, self.pcen_eps = pcen_power, pcen_eps
        # Smoothing per frame for the wanted time constant (librosa's formula).
        frames = pcen_time_constant_s * sample_rate_hz / hop_samples
        self.pcen_smooth = ((1 + 4 * frames**2) ** 0.5 - 1) / (2 * frames**2)
        window = torch.hann_window(fft_samples)
        # With this scale a full-scale sine has power 1 in its bin.
        self.register_buffer("window", window * (2 / window.sum()))
        self.register_buffer(
            "mel_MK",
            torchaudio.functional.melscale_fbanks(
                fft_samples // 2 + 1, fmin_hz, fmax_hz, num_mels, sample_rate_hz
            ).T.contiguous(),
        )
        self._decay_FF: Tensor | None = None

    def num_frames(self, num_samples: int) -> int:
        """Return the frames of a waveform of `num_samples`."""
        return 1 + num_samples // self.hop_samples

    @property
    def floor_db(self) -> float | None:
        """The value of digital silence; None for PCEN, which has no lowest value of its own."""
        return -min(self.top_db, MOST_TOP_DB) if self.kind == "logmel" else None

    @property
    def ceiling_db(self) -> float | None:
        """A value that no waveform in [-1, 1] exceeds, to 0.1 dB; None for PCEN.

        A full-scale sine reads 0 dB, but other waves hold more: by Parseval's theorem the powers
        of all bins of a frame sum to at most N * sum(w**2), reached by any wave that is at full
        scale in every sample, such as a square wave. With a Hann window scaled to sum to 2 that
        is 4 times its noise bandwidth of 1.5 bins. Half of it lies at positive frequencies, and a
        band takes at most its highest weight of that, however wide it is: 3, or 4.8 dB.
        """
        if self.kind != "logmel":
            return None
        weight_MK = cast(Tensor, self.mel_MK).double() / 2
        weight_MK[:, 0] *= 2  # zero frequency and the highest have no twin at negative ones
        if self.fft_samples % 2 == 0:
            weight_MK[:, -1] *= 2
        energy = self.fft_samples * float(cast(Tensor, self.window).double().square().sum())
        return math.ceil(100 * math.log10(energy * float(weight_MK.max()))) / 10

    def mel_hz(self) -> Tensor:
        """Return the centre frequency of each band, float32 [M]: where its filter peaks."""
        bin_hz = self.sample_rate_hz / self.fft_samples
        return cast(Tensor, self.mel_MK).argmax(dim=1).float() * bin_hz

    def noise_power(self) -> Tensor:
        """Return the power of each band for white noise of variance 1, float32 [M]."""
        bins_M = cast(Tensor, self.mel_MK).sum(dim=1)
        return cast(Tensor, self.window).square().sum() * bins_M

    def forward(self, wave_BT: Tensor) -> Tensor:
        # The quiet bands are far below what half precision holds: never in autocast.
        with torch.autocast(wave_BT.device.type, enabled=False):
            return self._spectrogram(wave_BT.float())

    def _spectrogram(self, wave_BT: Tensor) -> Tensor:
        if wave_BT.shape[-1] < self.fft_samples:
            raise ValueError(
                f"{wave_BT.shape[-1]} samples are fewer than one window of {self.fft_samples}."
            )
        power_BMF = self._mel_power(wave_BT)
        if self.kind == "pcen":
            return self._pcen(power_BMF)
        spec_BMF = 10 * torch.log10(power_BMF.clamp_min(MIN_POWER))
        return spec_BMF.clamp_min(-self.top_db)

    def _mel_power(self, wave_BT: Tensor) -> Tensor:
        spectrum = torch.stft(
            wave_BT,
            self.fft_samples,
            self.hop_samples,
            window=cast(Tensor, self.window),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        mel_power: Tensor = cast(Tensor, self.mel_MK) @ power
        return mel_power

    def _pcen(self, power_BMF: Tensor) -> Tensor:
        # The scale of 32-bit integers, which the published settings assume.
        energy_BMF = power_BMF * 2.0**31
        smooth_BMF = self._smooth(energy_BMF)
        gain_BMF = torch.exp(-self.pcen_gain * torch.log(self.pcen_eps + smooth_BMF))
        out_BMF = (energy_BMF * gain_BMF + self.pcen_bias) ** self.pcen_power
        centred: Tensor = out_BMF - self.pcen_bias**self.pcen_power
        return centred

    def _smooth(self, energy_BMF: Tensor) -> Tensor:
        """Return the first-order smoother along time, started at the first frame.

        A product with a triangle is exact, runs on a GPU, and needs no loop over frames; blocks
        keep the triangle small however long the recording.
        """
        blocks: list[Tensor] = []
        for begin in range(0, energy_BMF.shape[-1], BLOCK_FRAMES):
            block = energy_BMF[..., begin : begin + BLOCK_FRAMES]
            if blocks:  # from the last smoothed frame on, which itself is already there
                block = torch.cat([blocks[-1][..., -1:], block], dim=-1)
            smooth = block @ self._decay(block.shape[-1], block)
            blocks.append(smooth[..., 1:] if blocks else smooth)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)

    def _decay(self, num_frames: int, like: Tensor) -> Tensor:
        """Return [F, F] so that `x @ decay` is the first-order smoother started at x[0]."""
        decay = self._decay_FF
        if decay is None or decay.shape[0] != num_frames or decay.device != like.device:
            s = self.pcen_smooth
            with torch.inference_mode(False):  # it outlives the mode of the caller
                lag = torch.arange(num_frames)[None, :] - torch.arange(num_frames)[:, None]
                weight = torch.where(lag >= 0, s * (1 - s) ** lag.clamp_min(0).double(), 0.0)
                weight[0] = (1 - s) ** torch.arange(num_frames).double()
                decay = weight.to(like.device, torch.float32)
            self._decay_FF = decay
        return decay

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decay_FF": None}  # quickly made, and larger than all the rest


class Normaliser(nn.Module):
    """Subtract the mean and divide by the deviation of the training part, [B, M, F] -> same.

    Args:
        clip_median: subtract each band's median over the clip first. What is steady, such as wind,
            traffic and the colour of a microphone, is then gone whoever recorded it.
        floor_db: values down here are digital silence, such as padding: they do not count for the
            median, and become 0, the background. None where there is no such value.
    """

    def __init__(
        self, num_mels: int, *, clip_median: bool = False, floor_db: float | None = None
    ) -> None:
        super().__init__()
        self.clip_median, self.floor_db = clip_median, floor_db
        self.register_buffer("mean_M", torch.zeros(num_mels))
        self.register_buffer("std_M", torch.ones(num_mels))

    def set(self, mean_M: Tensor, std_M: Tensor) -> None:
        """Take statistics of centred spectrograms, float [M] each; deviations from 1e-3 up."""
        self.mean_M = mean_M.to(torch.float32).clone()
        self.std_M = std_M.to(torch.float32).clamp_min(1e-3)

    def centre(self, spec_BMF: Tensor) -> Tensor:
        """Return the spectrograms without their median over time, if asked for."""
        if not self.clip_median:
            return spec_BMF
        if self.floor_db is None:
            return spec_BMF - spec_BMF.median(dim=-1, keepdim=True).values
        silent_BMF = spec_BMF <= self.floor_db
        heard_BMF = spec_BMF.masked_fill(silent_BMF, torch.nan)
        median_BM1 = heard_BMF.nanmedian(dim=-1, keepdim=True).values
        return (spec_BMF - median_BM1).masked_fill(silent_BMF, 0.0)

    def scale(self, centred_BMF: Tensor) -> Tensor:
        """Return centred spectrograms with mean 0 and deviation 1 over the training part."""
        return (centred_BMF - self.mean_M[:, None]) / self.std_M[:, None]

    def forward(self, spec_BMF: Tensor) -> Tensor:
        return self.scale(self.centre(spec_BMF))
