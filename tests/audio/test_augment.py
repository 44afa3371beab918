"""Draws belong to segments, not to batches; inputs are left alone; levels are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chirpid.audio.augment import (
    AugmentRule,
    Draws,
    augment_logmel,
    augment_wave,
    equalise,
    mask_spectrogram,
    mixup,
)
from chirpid.audio.frontend import FrontEnd
from chirpid.seeds import keys_of
from tests.examples import examples

KEYS = keys_of(f"recording {n}.wav@{n % 7}" for n in range(400))
ALL = AugmentRule(
    gain_db=6.0, noise_db=-30.0, time_shift_s=0.3, num_freq_masks=2, freq_mask_bands=6,
    num_time_masks=2, time_mask_s=0.2, band_gain_db=6.0, mixup_alpha=0.4,
)  # fmt: skip
FRAMES_HZ, RATE = 100.0, 2000
M, F, T = 20, 60, 1200


def spectrograms(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, M, F, generator=torch.Generator().manual_seed(seed)) * 15 - 50


def waves(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, T, generator=torch.Generator().manual_seed(seed)) * 0.1


def draws_of(index: np.ndarray, seed: int = 1, epoch: int = 2) -> Draws:
    return Draws(seed, epoch, KEYS[index])


def on_wave(batch: torch.Tensor, draws: Draws, rule: AugmentRule) -> torch.Tensor:
    return augment_wave(batch, draws, rule, rate_hz=RATE)


def on_logmel(batch: torch.Tensor, draws: Draws, rule: AugmentRule) -> torch.Tensor:
    return augment_logmel(batch, draws, rule, frames_hz=FRAMES_HZ)


def on_masks(batch: torch.Tensor, draws: Draws, rule: AugmentRule) -> torch.Tensor:
    return mask_spectrogram(batch, draws, rule, frames_hz=FRAMES_HZ)


CHANGES = {"wave": on_wave, "logmel": on_logmel, "masks": on_masks, "equaliser": equalise}


def inputs_of(name: str, count: int) -> torch.Tensor:
    return waves(count) if name == "wave" else spectrograms(count)


@settings(max_examples=examples(60), deadline=None)
@given(
    name=st.sampled_from(list(CHANGES)),
    index=st.lists(st.integers(0, 39), min_size=1, max_size=12, unique=True),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 500),
    probability=st.sampled_from([0.5, 1.0]),
)
def test_a_segment_is_changed_alike_in_any_batch(name, index, seed, epoch, probability) -> None:
    rule, everything = replace(ALL, probability=probability), inputs_of(name, 40)
    whole = CHANGES[name](everything, Draws(seed, epoch, KEYS[:40]), rule)
    chosen = np.array(index)
    part = CHANGES[name](everything[chosen], Draws(seed, epoch, KEYS[chosen]), rule)
    assert torch.equal(part, whole[chosen])


@pytest.mark.parametrize("name", list(CHANGES))
def test_seed_epoch_and_segment_each_change_the_draw(name: str) -> None:
    batch = inputs_of(name, 1).expand(2, *inputs_of(name, 1).shape[1:])
    first = CHANGES[name](batch, draws_of(np.array([0, 1])), ALL)
    assert not torch.equal(first[0], first[1])
    for draws in (draws_of(np.array([0, 1]), seed=9), draws_of(np.array([0, 1]), epoch=9)):
        assert not torch.equal(CHANGES[name](batch, draws, ALL), first)


@pytest.mark.parametrize("name", list(CHANGES))
def test_the_input_is_never_touched(name: str) -> None:
    batch = inputs_of(name, 8)
    before = batch.clone()
    CHANGES[name](batch, draws_of(np.arange(8)), ALL)
    assert torch.equal(batch, before)


@pytest.mark.parametrize("name", list(CHANGES))
@pytest.mark.parametrize("rule", [replace(ALL, probability=0.0), AugmentRule()])
def test_probability_zero_and_the_empty_rule_change_no_bit(name: str, rule: AugmentRule) -> None:
    batch = inputs_of(name, 8)
    assert torch.equal(CHANGES[name](batch, draws_of(np.arange(8)), rule), batch)


@pytest.mark.parametrize("name", list(CHANGES))
def test_the_stated_share_is_changed_and_the_rest_keeps_its_bits(name: str) -> None:
    batch = inputs_of(name, 400)
    rule = replace(ALL, probability=0.3)
    out = CHANGES[name](batch, draws_of(np.arange(400)), rule)
    changed = (out != batch).flatten(1).any(dim=1).float().mean()
    assert 0.2 < float(changed) < 0.4


def test_one_change_does_not_move_the_draws_of_another() -> None:
    batch, draws = waves(8), draws_of(np.arange(8))
    gain = AugmentRule(gain_db=6.0)
    with_noise = on_wave(batch, draws, replace(gain, noise_db=-300.0, noise_range_db=0.0))
    assert torch.allclose(on_wave(batch, draws, gain), with_noise, atol=1e-6)


def test_gains_are_uniform_between_their_bounds() -> None:
    batch = torch.ones(400, T)
    out = on_wave(batch, draws_of(np.arange(400)), AugmentRule(gain_db=6.0))
    gain_db = 20 * torch.log10(out[:, 0]).numpy()
    assert np.abs(gain_db).max() <= 6.0
    assert stats.kstest(gain_db, stats.uniform(-6, 12).cdf).pvalue > 1e-3
    spec = spectrograms(400)
    moved = on_logmel(spec, draws_of(np.arange(400)), AugmentRule(gain_db=6.0)) - spec
    assert torch.allclose(moved[:, 0, 0], torch.from_numpy(gain_db).float(), atol=1e-4)


def test_noise_has_the_stated_level_and_is_gaussian() -> None:
    rule = AugmentRule(noise_db=-20.0, noise_range_db=0.0)
    noise = on_wave(torch.zeros(50, 4000), draws_of(np.arange(50)), rule)
    assert float(20 * torch.log10(noise.square().mean().sqrt())) == pytest.approx(-20.0, abs=0.1)
    assert stats.kstest(noise.flatten().numpy()[::37] / 0.1, "norm").pvalue > 1e-3
    assert float(torch.corrcoef(noise).fill_diagonal_(0).abs().max()) < 0.08, "rows are unrelated"


def test_noise_levels_spread_over_their_range() -> None:
    rule = AugmentRule(noise_db=-20.0, noise_range_db=30.0)
    noise = on_wave(torch.zeros(400, T), draws_of(np.arange(400)), rule)
    level_db = 20 * torch.log10(noise.square().mean(dim=1).sqrt()).numpy()
    assert stats.kstest(level_db, stats.uniform(-50, 30).cdf).pvalue > 1e-3


def test_noise_means_the_same_to_waveforms_and_to_their_spectrograms() -> None:
    rule = AugmentRule(noise_db=-30.0, noise_range_db=0.0)
    frontend = FrontEnd(
        kind="logmel", sample_rate_hz=32000, fft_samples=1024, hop_samples=512, num_mels=40,
        fmin_hz=100.0, fmax_hz=15000.0,
    )  # fmt: skip
    draws, silence = draws_of(np.arange(30)), torch.zeros(30, 64000)
    heard = frontend(augment_wave(silence, draws, rule, rate_hz=32000))
    drawn = augment_logmel(
        frontend(silence), draws, rule, frames_hz=62.5, noise_power_M=frontend.noise_power()
    )
    levels = [10 * torch.log10((10 ** (s / 10)).mean(dim=(0, 2))) for s in (heard, drawn)]
    assert float((levels[0] - levels[1]).abs().max()) < 0.5


def test_noise_in_a_spectrogram_has_the_stated_level_and_spares_what_is_louder() -> None:
    rule = AugmentRule(noise_db=-40.0, noise_range_db=0.0)
    draws = draws_of(np.arange(50))
    silent = on_logmel(torch.full((50, M, F), -100.0), draws, rule)
    power_db = 10 * torch.log10((10 ** (silent.double() / 10)).mean())
    assert float(power_db) == pytest.approx(-40.0, abs=0.1)
    loud = on_logmel(torch.full((50, M, F), 0.0), draws, rule)
    assert float(loud.abs().max()) < 0.01


def test_shifts_are_circular_and_bounded() -> None:
    rule = AugmentRule(time_shift_s=0.1)
    ramp = torch.arange(T, dtype=torch.float32).expand(400, T)
    out = on_wave(ramp, draws_of(np.arange(400)), rule)
    shift = (-out[:, 0]) % T
    shift = torch.where(shift > T / 2, shift - T, shift)
    assert float(shift.abs().max()) <= 200
    assert float(shift.min()) < -150 < 150 < float(shift.max())
    assert torch.equal(out.sort(dim=1).values, ramp)
    spec = spectrograms(5)
    moved = on_logmel(spec, draws_of(np.arange(5)), rule)
    for row, before in zip(moved, spec, strict=True):
        rolls = [int(k) for k in range(-10, 11) if torch.equal(before.roll(k, dims=1), row)]
        assert len(rolls) == 1


def test_a_shift_longer_than_the_clip_wraps_around() -> None:
    out = on_wave(waves(5), draws_of(np.arange(5)), AugmentRule(time_shift_s=100.0))
    assert torch.equal(out.sort(dim=1).values, waves(5).sort(dim=1).values)


def test_masks_are_stripes_of_bounded_width_set_to_the_mean() -> None:
    ones = torch.ones(400, M, F)
    rule = AugmentRule(num_freq_masks=1, freq_mask_bands=5, num_time_masks=1, time_mask_s=0.08)
    out = on_masks(ones, draws_of(np.arange(400)), rule)
    assert set(out.unique().tolist()) == {0.0, 1.0}
    bands = (out == 0).all(dim=2).sum(dim=1)
    frames = (out == 0).all(dim=1).sum(dim=1)
    assert set(bands.tolist()) == set(range(6))
    assert set(frames.tolist()) == set(range(9))
    for row in out[:50]:
        assert torch.equal(row, (row.amax(dim=1)[:, None] * row.amax(dim=0)[None]))
        assert int((row.amax(dim=1).diff() != 0).sum()) <= 2, "one stripe"


def test_masks_wider_than_the_spectrogram_stay_inside() -> None:
    rule = AugmentRule(num_freq_masks=2, freq_mask_bands=500, num_time_masks=2, time_mask_s=500.0)
    assert on_masks(spectrograms(20), draws_of(np.arange(20)), rule).shape == (20, M, F)


def test_the_equaliser_is_smooth_bounded_and_the_same_for_all_frames() -> None:
    spec = spectrograms(50)
    gains = equalise(spec, draws_of(np.arange(50)), AugmentRule(band_gain_db=6.0)) - spec
    assert float(gains.abs().max()) <= 6.0 + 1e-4
    assert float((gains - gains[:, :, :1]).abs().max()) < 1e-4
    assert float(gains[:, :, 0].diff(dim=1).abs().max()) < 12.0 * 5 / (M - 1) + 1e-3


def test_mixup_keeps_most_of_each_segment_and_mixes_targets_alike() -> None:
    spec, target = spectrograms(100), torch.eye(4)[torch.arange(100) % 4]
    before, target_before = spec.clone(), target.clone()
    draws = draws_of(np.arange(100))
    mixed, mixed_target = mixup(spec, target, draws, AugmentRule(mixup_alpha=0.4))
    assert torch.equal(spec, before)
    assert torch.equal(target, target_before)
    share = (mixed_target * target).sum(dim=1)
    assert float(share.min()) >= 0.5
    assert float(share.std()) > 0.1
    assert torch.allclose(mixed_target.sum(dim=1), torch.ones(100))
    wanted = share[:, None, None] * spec + (1 - share[:, None, None]) * spec.roll(-1, dims=0)
    assert torch.allclose(mixed, wanted, atol=1e-4)
    again, _ = mixup(spec[:10], target[:10], draws_of(np.arange(10)), AugmentRule(mixup_alpha=0.4))
    assert torch.equal(again[:9], mixed[:9]), "the share belongs to the segment"


@pytest.mark.parametrize(
    "rule", [AugmentRule(), replace(ALL, probability=0.0), replace(ALL, mixup_alpha=0.0)]
)
def test_mixup_that_is_not_asked_for_changes_no_bit(rule: AugmentRule) -> None:
    spec, target = spectrograms(6), torch.eye(6)
    mixed, mixed_target = mixup(spec, target, draws_of(np.arange(6)), rule)
    assert torch.equal(mixed, spec)
    assert torch.equal(mixed_target, target)


def test_a_batch_of_one_and_of_none_are_taken() -> None:
    for count in (0, 1):
        index = np.arange(count)
        for name, change in CHANGES.items():
            batch = inputs_of(name, 1)[:count]
            assert change(batch, draws_of(index), ALL).shape == batch.shape
        assert mixup(spectrograms(1)[:count], torch.eye(1)[:count], draws_of(index), ALL)[
            0
        ].shape == (count, M, F)


def test_fields_are_uniform_and_rows_unrelated() -> None:
    field = draws_of(np.arange(200)).field(12, 5000, torch.device("cpu"))
    assert 0 < float(field.min()) < float(field.max()) < 1
    counts = torch.histc(field, 64, 0, 1).numpy()
    assert stats.chisquare(counts).pvalue > 1e-3
    assert float(torch.corrcoef(field).fill_diagonal_(0).abs().max()) < 0.08
