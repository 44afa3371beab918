"""Random changes of training segments, in batches, each draw keyed by (seed, epoch, segment).

The same segment gets the same change whatever its batch, worker, rank or device: draws are hashes
of what they are for, not the next numbers of a generator.

B batch, T samples, M mel bands, F frames
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chirpid.seeds import U64, mix64, uniform
from chirpid.types import FloatArray

# Streams of random numbers: one for each use, so that none moves when another is switched on.
_APPLY, _GAIN, _NOISE, _NOISE_LEVEL, _SHIFT, _FREQ, _TIME, _BAND, _MIX = range(10, 19)
_NUM_BAND_KNOTS = 6


@dataclass(frozen=True, slots=True)
class AugmentRule:
    """What is drawn; the meaning of each field is that of `conf/augment`."""

    gain_db: float = 0.0
    noise_db: float | None = None
    noise_range_db: float = 30.0
    time_shift_s: float = 0.0
    num_freq_masks: int = 0
    freq_mask_bands: int = 8
    num_time_masks: int = 0
    time_mask_s: float = 0.5
    band_gain_db: float = 0.0
    mixup_alpha: float = 0.0
    probability: float = 1.0


class Draws:
    """The random numbers of the segments of one batch.

    Args:
        key_B: keys of the segments.
    """

    def __init__(self, seed: int, epoch: int, key_B: U64) -> None:
        self.seed, self.epoch, self.key_B = seed, epoch, key_B

    def uniform(self, stream: int, count: int = 1) -> FloatArray:
        """Return float64 [B, count] in [0, 1)."""
        index = np.arange(count, dtype=np.uint64)[None, :]
        return uniform(self.seed, self.epoch, stream, self.key_B[:, None], index)

    def symmetric(self, stream: int, scale: float, count: int = 1) -> FloatArray:
        """Return float64 [B, count] in [-scale, scale)."""
        return (2 * self.uniform(stream, count) - 1) * scale

    def applied(self, probability: float) -> FloatArray:
        """Return 1.0 for segments that are augmented at all, else 0.0, [B]."""
        return (self.uniform(_APPLY)[:, 0] < probability).astype(np.float64)

    def field(self, stream: int, num_values: int, device: torch.device) -> Tensor:
        """Return uniform float32 [B, num_values] in (0, 1), hashed where they are needed.

        Computed in torch from 32-bit hashes, so that a GPU draws the bits that a CPU draws.
        Source: the finaliser of MurmurHash3 (Appleby, 2011).
        """
        seed_B = mix64(self.seed, self.epoch, stream, self.key_B).astype(np.uint32).view(np.int32)
        index = _murmur(torch.arange(num_values, device=device, dtype=torch.int32))
        bits = _murmur(index[None, :] ^ torch.from_numpy(seed_B).to(device)[:, None])
        return ((bits >> 8 & 0xFFFFFF).float() + 0.5) * 2.0**-24

    def noise(self, stream: int, num_values: int, device: torch.device) -> Tensor:
        """Return standard normal float32 [B, num_values].

        Source: Box and Muller (1958).
        """
        half = -(-num_values // 2)
        unit = self.field(stream, 2 * half, device)
        radius = (-2 * unit[:, :half].log()).sqrt_()
        angle = unit[:, half:] * (2 * math.pi)
        return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :num_values]


def _murmur(x: Tensor) -> Tensor:
    """Return the finaliser of MurmurHash3 of int32 tensors, whose products wrap around."""
    x = (x ^ (x >> 16 & 0xFFFF)) * -2048144789  # 0x85EBCA6B
    x = (x ^ (x >> 13 & 0x7FFFF)) * -1028477387  # 0xC2B2AE35
    return x ^ (x >> 16 & 0xFFFF)


def _column(values: FloatArray, like: Tensor) -> Tensor:
    """Return [B] numbers shaped to scale a batch of any rank."""
    column = torch.from_numpy(np.ascontiguousarray(values)).to(like)
    return column.reshape(-1, *([1] * (like.dim() - 1)))


def _shift(batch: Tensor, draws: Draws, max_shift: int, applied: FloatArray) -> Tensor:
    """Roll each row along its last axis by up to `max_shift`."""
    if max_shift < 1:
        return batch
    shift_B = np.rint(draws.symmetric(_SHIFT, max_shift)[:, 0] * applied).astype(np.int64)
    length = batch.shape[-1]
    index = torch.arange(length, device=batch.device)[None, :]
    source = (index - torch.from_numpy(shift_B).to(batch.device)[:, None]) % length
    if batch.dim() == 3:
        source = source[:, None, :].expand(batch.shape)
    return batch.gather(-1, source)


def augment_wave(wave_BT: Tensor, draws: Draws, rule: AugmentRule, *, rate_hz: int) -> Tensor:
    """Return waveforms [B, T] shifted in time, with another level, and with white noise."""
    applied = draws.applied(rule.probability)
    wave_BT = _shift(wave_BT, draws, round(rule.time_shift_s * rate_hz), applied)
    if rule.gain_db:
        gain_db = draws.symmetric(_GAIN, rule.gain_db)[:, 0] * applied
        wave_BT = wave_BT * _column(10 ** (gain_db / 20), wave_BT)
    if rule.noise_db is not None:
        amplitude = 10 ** (_noise_level(draws, rule) / 20) * applied
        noise_BT = draws.noise(_NOISE, wave_BT.shape[1], wave_BT.device)
        wave_BT = wave_BT + _column(amplitude, wave_BT) * noise_BT
    return wave_BT


def _noise_level(draws: Draws, rule: AugmentRule) -> FloatArray:
    assert rule.noise_db is not None
    level: FloatArray = rule.noise_db - rule.noise_range_db * draws.uniform(_NOISE_LEVEL)[:, 0]
    return level


def augment_logmel(
    spec_BMF: Tensor,
    draws: Draws,
    rule: AugmentRule,
    *,
    frames_hz: float,
    noise_power_M: Tensor | None = None,
    floor_db: float | None = None,
) -> Tensor:
    """Return log-mel [B, M, F] in dB with what `augment_wave` does to waveforms.

    Noise power adds to signal power, so noise is added in power and the sum put back into dB: what
    was louder than the noise stays as it was. The noise of a band is exponentially distributed
    around its mean, as the power of Gaussian noise in one bin is.

    Args:
        noise_power_M: power of each band for white noise of variance 1 (`FrontEnd.noise_power`),
            so that `noise_db` is the level of the waveform's noise; None takes 1.
        floor_db: digital silence, which stays as it is whatever the gain.
    """
    applied = draws.applied(rule.probability)
    spec_BMF = _shift(spec_BMF, draws, round(rule.time_shift_s * frames_hz), applied)
    if rule.gain_db:
        gain_db = draws.symmetric(_GAIN, rule.gain_db)[:, 0] * applied
        gain_B11 = _column(gain_db, spec_BMF)
        if floor_db is None:
            spec_BMF = spec_BMF + gain_B11
        else:
            spec_BMF = torch.where(spec_BMF > floor_db, spec_BMF + gain_B11, spec_BMF)
    if rule.noise_db is not None:
        num_mels, num_frames = spec_BMF.shape[1:]
        unit = draws.field(_NOISE, num_mels * num_frames, spec_BMF.device)
        power = unit.log_().neg_().reshape(-1, num_mels, num_frames)
        if noise_power_M is not None:
            power = power.mul_(noise_power_M.to(power)[:, None])
        level = 10 ** (_noise_level(draws, rule) / 10) * applied
        total = torch.exp(spec_BMF * (math.log(10) / 10)).add_(power.mul_(_column(level, spec_BMF)))
        noisy_BMF = total.clamp_min_(1e-12).log_().mul_(10 / math.log(10))
        # There and back again through powers changes the last bits: not of what is left alone.
        spec_BMF = torch.where(_column(applied, spec_BMF) > 0, noisy_BMF, spec_BMF)
    return spec_BMF


def equalise(spec_BMF: Tensor, draws: Draws, rule: AugmentRule) -> Tensor:
    """Return log-mel [B, M, F] with smooth random gains per band: another microphone.

    Linear in dB between a few drawn values. Applied to centred spectrograms, since a median that
    is subtracted takes a steady colour away again.
    """
    if not rule.band_gain_db:
        return spec_BMF
    applied = draws.applied(rule.probability)
    knots = draws.symmetric(_BAND, rule.band_gain_db, _NUM_BAND_KNOTS) * applied[:, None]
    gains_B1M = torch.nn.functional.interpolate(
        torch.from_numpy(knots).to(spec_BMF)[:, None, :],
        size=spec_BMF.shape[1],
        mode="linear",
        align_corners=True,
    )
    return spec_BMF + gains_B1M[:, 0, :, None]


def mask_spectrogram(
    spec_BMF: Tensor, draws: Draws, rule: AugmentRule, *, frames_hz: float
) -> Tensor:
    """Return normalised spectrograms with bands and stretches of time set to 0, their mean.

    Source: SpecAugment (Park et al., 2019), arXiv:1904.08779.
    """
    applied = draws.applied(rule.probability)
    num_mels, num_frames = spec_BMF.shape[1:]
    keep_BM = _stripes(draws, _FREQ, rule.num_freq_masks, rule.freq_mask_bands, num_mels, applied)
    widest = min(round(rule.time_mask_s * frames_hz), num_frames)
    keep_BF = _stripes(draws, _TIME, rule.num_time_masks, widest, num_frames, applied)
    if keep_BM is not None:
        spec_BMF = spec_BMF * torch.from_numpy(keep_BM).to(spec_BMF)[:, :, None]
    if keep_BF is not None:
        spec_BMF = spec_BMF * torch.from_numpy(keep_BF).to(spec_BMF)[:, None, :]
    return spec_BMF


def _stripes(
    draws: Draws, stream: int, count: int, widest: int, length: int, applied: FloatArray
) -> FloatArray | None:
    """Return [B, length] that is 0 inside the drawn stripes and 1 elsewhere, or None."""
    if count == 0 or widest < 1:
        return None
    drawn = draws.uniform(stream, 2 * count).reshape(-1, count, 2)
    width = np.floor(drawn[:, :, 0] * (min(widest, length) + 1)) * applied[:, None]
    first = np.floor(drawn[:, :, 1] * (length - width + 1))
    position = np.arange(length)
    inside = (position >= first[:, :, None]) & (position < (first + width)[:, :, None])
    return np.where(inside.any(axis=1), 0.0, 1.0)


def mixup(
    spec_BMF: Tensor, target_BC: Tensor, draws: Draws, rule: AugmentRule
) -> tuple[Tensor, Tensor]:
    """Return inputs and targets mixed with those of the next segment of the batch.

    The share is Beta(a, a) distributed, folded so that a segment keeps at least half of itself.
    Source: mixup (Zhang et al., 2018), arXiv:1710.09412.
    """
    if rule.mixup_alpha == 0 or len(spec_BMF) < 2:
        return spec_BMF, target_BC
    from scipy.stats import beta

    share = beta.ppf(draws.uniform(_MIX)[:, 0], rule.mixup_alpha, rule.mixup_alpha)
    share = np.where(draws.applied(rule.probability) > 0, np.maximum(share, 1 - share), 1.0)
    share_B11 = _column(share, spec_BMF)
    share_B1 = _column(share, target_BC)
    mixed = share_B11 * spec_BMF + (1 - share_B11) * spec_BMF.roll(-1, dims=0)
    return mixed, share_B1 * target_BC + (1 - share_B1) * target_BC.roll(-1, dims=0)
