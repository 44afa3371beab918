"""Resampling: windows equal the cut of the whole, tones below the cutoff live, those above die."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.audio.resample import (
    MAX_KERNEL,
    context_frames,
    ratio,
    resampler,
    source_span,
    to_rate,
)
from tests.examples import examples

PAIRS = [(44100, 32000), (48000, 32000), (22050, 32000), (16000, 22050), (96000, 32000),
         (32000, 48000), (44099, 32000), (32000, 32000)]  # fmt: skip


def window(
    wave: np.ndarray, start: int, num_samples: int, from_hz: int, to_hz: int
) -> torch.Tensor:
    """Resample a window with its context, zeros outside of the recording."""
    first, length = source_span(start, num_samples, from_hz=from_hz, to_hz=to_hz)
    frames = np.zeros(length, dtype=np.float32)
    low, high = max(first, 0), min(first + length, len(wave))
    if high > low:
        frames[low - first : high - first] = wave[low:high]
    return to_rate(frames, num_samples, from_hz=from_hz, to_hz=to_hz)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_window_is_the_cut_of_the_whole(from_hz: int, to_hz: int) -> None:
    wave = np.random.default_rng(0).standard_normal(3 * from_hz).astype(np.float32)
    source, target = ratio(from_hz, to_hz)
    whole = wave if source == target else resampler(from_hz, to_hz)(torch.from_numpy(wave)).numpy()
    whole = torch.from_numpy(np.asarray(whole))
    for start_s in (0.0, 0.5, 1.7):
        start = round(start_s * from_hz) // source * source  # a whole output sample
        cut = start // source * target
        found = window(wave, start, to_hz, from_hz, to_hz)
        assert found.shape == (to_hz,)
        assert torch.allclose(found, whole[cut : cut + to_hz], atol=2e-6)


@settings(max_examples=examples(25), deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    start=st.integers(-50_000, 200_000),
    num_samples=st.integers(1, 20_000),
)
def test_every_window_has_the_length_asked_for_and_is_finite(pair, start, num_samples) -> None:
    wave = np.ones(100_000, dtype=np.float32)
    found = window(wave, start, num_samples, *pair)
    assert found.shape == (num_samples,)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(("from_hz", "to_hz"), [p for p in PAIRS if p[0] != p[1]])
def test_a_tone_below_the_cutoff_survives_and_one_above_dies(from_hz: int, to_hz: int) -> None:
    def level_db(hz: float) -> float:
        wave = np.sin(2 * np.pi * hz * np.arange(2 * from_hz) / from_hz).astype(np.float32)
        middle = window(wave, from_hz // 2, to_hz, from_hz, to_hz)[2000:-2000]
        return float(20 * torch.log10(middle.square().mean().sqrt() * 2**0.5 + 1e-9))

    nyquist = min(from_hz, to_hz) / 2
    assert abs(level_db(0.5 * nyquist)) < 0.1
    assert abs(level_db(0.85 * nyquist)) < 0.3
    if from_hz > to_hz:
        assert level_db(min(1.1 * nyquist, 0.49 * from_hz)) < -55


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_tone_keeps_its_pitch(from_hz: int, to_hz: int) -> None:
    wave = np.sin(2 * np.pi * 1000.0 * np.arange(3 * from_hz) / from_hz).astype(np.float32)
    found = window(wave, from_hz, to_hz, from_hz, to_hz)
    peak = torch.fft.rfft(found * torch.hann_window(to_hz)).abs().argmax()
    assert int(peak) == 1000  # one second: bins of 1 Hz


def test_a_window_outside_of_the_recording_is_silent() -> None:
    wave = np.ones(1000, dtype=np.float32)
    assert not window(wave, 44100, 500, 44100, 32000).any()
    assert not window(wave, -90000, 500, 44100, 32000).any()


@given(from_hz=st.integers(100, 400_000), to_hz=st.sampled_from([8000, 16000, 22050, 32000, 48000]))
def test_no_pair_of_rates_needs_a_huge_kernel(from_hz: int, to_hz: int) -> None:
    source, target = ratio(from_hz, to_hz)
    assert source * target <= 1.01 * MAX_KERNEL
    assert abs(source / target / (from_hz / to_hz) - 1) < 3e-4
    assert context_frames(from_hz, to_hz) < 30 * from_hz / min(from_hz, to_hz) * 16 + 4001


def test_usual_rates_are_exact() -> None:
    rates = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000, 250000, 384000]
    for from_hz in rates:
        for to_hz in rates[:8]:
            source, target = ratio(from_hz, to_hz)
            assert source * to_hz == target * from_hz
