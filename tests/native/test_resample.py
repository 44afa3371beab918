"""The native resampler: torchaudio's weights, float64's result, one bit pattern for a sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid import native
from chirpid.audio.resample import ratio, resampler
from chirpid.native.resample import Polyphase, polyphase
from tests.examples import examples

pytestmark = pytest.mark.skipif(native.handle() is None, reason="no native library")

PAIRS = [(44100, 32000), (48000, 32000), (22050, 32000), (16000, 22050), (96000, 32000),
         (32000, 48000), (48000, 44100), (250000, 32000), (44099, 8000)]  # fmt: skip


def native_of(pair: tuple[int, int]) -> Polyphase:
    source, _ = ratio(*pair)
    made = resampler(*pair)
    found = polyphase(made.kernel[:, 0].numpy(), source=source, width=made.width)
    assert found is not None
    return found


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def outputs(made: Polyphase, wave: np.ndarray, first: int, count: int) -> np.ndarray:
    out = np.full(count, np.nan, dtype=np.float32)
    made.into(wave, first, out)
    return out


@pytest.mark.parametrize("pair", PAIRS)
def test_it_is_as_near_to_float64_as_torch_is(pair: tuple[int, int]) -> None:
    wave = (0.2 * np.random.default_rng(0).standard_normal(20_000)).astype(np.float32)
    source, _ = ratio(*pair)
    made = resampler(*pair)
    padded = torch.nn.functional.pad(torch.from_numpy(wave), (made.width, made.width + source))
    exact = torch.nn.functional.conv1d(
        padded.double()[None, None], made.kernel.double(), stride=source
    )
    by_torch = made(torch.from_numpy(wave)).numpy()
    exact = exact[0].T.reshape(-1)[: len(by_torch)].numpy()
    found = outputs(native_of(pair), wave, 0, len(by_torch))
    assert rms(found - exact) < 1.05 * rms(by_torch - exact)
    assert np.abs(found - exact).max() < 1e-6


@settings(max_examples=examples(60), deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    num_frames=st.integers(1, 3000),
    first=st.integers(0, 3000),
    count=st.integers(0, 3000),
)
def test_a_part_has_the_bits_of_the_whole(
    pair: tuple[int, int], num_frames: int, first: int, count: int
) -> None:
    wave = np.random.default_rng(num_frames).standard_normal(num_frames).astype(np.float32)
    made = native_of(pair)
    whole = outputs(made, wave, 0, 6000)
    assert np.array_equal(outputs(made, wave, first, count), whole[first : first + count])


@pytest.mark.parametrize("pair", PAIRS)
def test_a_shift_by_a_whole_period_shifts_the_bits(pair: tuple[int, int]) -> None:
    source, target = ratio(*pair)
    wave = np.random.default_rng(0).standard_normal(5 * source + 999).astype(np.float32)
    made = native_of(pair)
    for periods in (1, 2, 3):
        shifted = np.concatenate([np.zeros(periods * source, dtype=np.float32), wave])
        later = outputs(made, shifted, periods * target, 2 * target)
        assert np.array_equal(later, outputs(made, wave, 0, 2 * target))


@pytest.mark.parametrize("pair", PAIRS)
def test_every_vector_width_gives_the_same_bits(pair: tuple[int, int]) -> None:
    wave = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    made, library = native_of(pair), native.handle()
    before, found = library.chirpid_width(), []
    try:
        for width in range(library.chirpid_widest() + 1):
            assert library.chirpid_use_width(width) == 0
            found.append(outputs(made, wave, 17, 5000))
    finally:
        library.chirpid_use_width(before)
    assert all(np.array_equal(one, found[0]) for one in found)
