"""The front end against formulas written out in float64, and against physics."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from chirpid.audio import frontend as frontend_module
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.normalise import Normaliser
from tests import spectra

RATE, FFT, HOP, MELS = 16000, 512, 160, 40
FMIN, FMAX = 50.0, 8000.0


def frontend(**more: object) -> FrontEnd:
    settings = {
        "kind": "logmel", "sample_rate_hz": RATE, "fft_samples": FFT, "hop_samples": HOP,
        "num_mels": MELS, "fmin_hz": FMIN, "fmax_hz": FMAX, **more,
    }  # fmt: skip
    return FrontEnd(**settings)


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(round(RATE * seconds)) * 0.1).astype(
        np.float32
    )


def sine(hz: float, level: float = 1.0, seconds: float = 1.0) -> torch.Tensor:
    time_s = torch.arange(round(RATE * seconds), dtype=torch.float64) / RATE
    return (level * torch.sin(2 * np.pi * hz * time_s)).float()[None]


def reference_power(wave: np.ndarray) -> np.ndarray:
    return spectra.reference_power(
        wave, rate_hz=RATE, fft=FFT, hop=HOP, mels=MELS, fmin=FMIN, fmax=FMAX
    )


def reference_pcen(power: np.ndarray) -> np.ndarray:
    """PCEN [M, F], one frame after the other, in the log-space form of librosa.pcen."""
    gain, bias, exponent, eps = 0.98, 2.0, 0.5, 1e-6
    frames = 0.4 * RATE / HOP
    smooth = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    energy = power * 2.0**31
    state = energy[:, 0]
    columns = []
    for frame in energy.T:
        state = (1 - smooth) * state + smooth * frame
        scale = np.exp(-gain * (np.log(eps) + np.log1p(state / eps)))
        columns.append(bias**exponent * np.expm1(exponent * np.log1p(frame * scale / bias)))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_log_mel_is_within_a_thousandth_of_the_definition(seed: int) -> None:
    wave = noise(seed=seed) + sine(500.0 * (seed + 1), 0.5)[0].numpy()
    found = frontend()(torch.from_numpy(wave)[None])[0].double().numpy() / 10
    wanted = np.maximum(np.log10(np.maximum(reference_power(wave), 1e-10)), -10)
    assert found.shape == (MELS, 1 + RATE // HOP)
    assert np.abs(found - wanted).max() < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_pcen_is_that_of_the_recursion(seed: int) -> None:
    wave = noise(2.0, seed) * np.linspace(0.01, 1, 2 * RATE, dtype=np.float32)
    found = frontend(kind="pcen")(torch.from_numpy(wave)[None])[0].double().numpy()
    wanted = reference_pcen(reference_power(wave))
    assert np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()


def test_pcen_in_blocks_is_pcen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = torch.from_numpy(noise(3.0))[None]
    at_once = frontend(kind="pcen")(wave)
    for block in (7, 100, 300, 301):
        monkeypatch.setattr(frontend_module, "BLOCK_FRAMES", block)
        assert torch.allclose(frontend(kind="pcen")(wave), at_once, rtol=1e-4, atol=1e-5)


def test_pcen_smoothing_is_the_filter_it_says() -> None:
    front = frontend(kind="pcen")
    energy = torch.rand(2, 3, 50)
    b = front.pcen_smooth
    initial = (1 - b) * energy.numpy()[..., :1]
    wanted, _ = lfilter([b], [1, b - 1], energy.numpy(), zi=initial)
    assert np.abs(front._smooth(energy).numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize("hz", [500.0, 1000.0, 2000.0, 4000.0, 7000.0])
def test_a_full_scale_tone_lights_its_band_at_about_zero_db(hz: float) -> None:
    front = frontend()
    band_M = front(sine(hz))[0, :, 20:80].mean(dim=1)
    loudest = int(band_M.argmax())
    centre = front.mel_hz()[loudest]
    width = 700 * (10 ** (2595 * np.log10(1 + hz / 700) / 2595) - 1) * 0.12 + RATE / FFT
    assert abs(float(centre) - hz) < width
    assert -3.5 < float(band_M[loudest]) < 3.5
    far = (front.mel_hz() - hz).abs() > 1500
    assert float(band_M[far].max()) < -50


@pytest.mark.parametrize("level_db", [-10, -40, -60])
def test_a_quieter_tone_reads_as_much_lower(level_db: int) -> None:
    front = frontend()
    full, quiet = front(sine(2000.0)), front(sine(2000.0, 10 ** (level_db / 20)))
    band = int(full[0, :, 50].argmax())
    assert float(quiet[0, band, 50] - full[0, band, 50]) == pytest.approx(level_db, abs=0.01)


def test_silence_reads_the_floor_and_nothing_is_below_it() -> None:
    for top_db in (60.0, 80.0, 100.0):
        spec = frontend(top_db=top_db)(torch.zeros(1, RATE))
        assert torch.equal(spec, torch.full_like(spec, -top_db))
    assert float(frontend(kind="pcen")(torch.zeros(1, RATE)).abs().max()) < 1e-6


@pytest.mark.parametrize("num_samples", [512, 513, 639, 640, 16000, 16159])
def test_the_number_of_frames_is_as_told(num_samples: int) -> None:
    front = frontend()
    assert front(torch.rand(2, num_samples)).shape == (2, MELS, front.num_frames(num_samples))


def test_less_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="511 samples are fewer than one window of 512"):
        frontend()(torch.zeros(1, 511))


@pytest.mark.parametrize("kind", ["logmel", "pcen"])
def test_autocast_changes_nothing(kind: str) -> None:
    wave = torch.from_numpy(noise())[None]
    front = frontend(kind=kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = front(wave)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, front(wave))


@pytest.mark.parametrize("kind", ["logmel", "pcen"])
def test_the_input_is_left_as_it_is_and_rows_do_not_mix(kind: str) -> None:
    waves = torch.from_numpy(np.stack([noise(seed=1), noise(seed=2)]))
    before, front = waves.clone(), frontend(kind=kind)
    both = front(waves)
    assert torch.equal(waves, before)
    assert torch.allclose(both[1:], front(waves[1:]), atol=1e-3)


def test_what_inference_made_can_be_trained_with_and_pickles_stay_small() -> None:
    front = frontend(kind="pcen")
    with torch.inference_mode():
        front(torch.rand(1, 60 * RATE))
    wave = torch.rand(1, 60 * RATE, requires_grad=True)
    front(wave).sum().backward()
    assert wave.grad is not None
    assert len(pickle.dumps(front)) < 300_000
    again = copy.deepcopy(front)
    assert torch.equal(again(torch.ones(1, RATE)), front(torch.ones(1, RATE)))


def test_normalised_training_data_have_mean_zero_and_deviation_one() -> None:
    spec = torch.randn(8, MELS, 100, dtype=torch.float64) * 7 - 30
    normaliser = Normaliser(MELS)
    normaliser.set(spec.mean(dim=(0, 2)), spec.std(dim=(0, 2), correction=0))
    out = normaliser(spec.float())
    assert float(out.mean(dim=(0, 2)).abs().max()) < 1e-4
    assert float((out.std(dim=(0, 2)) - 1).abs().max()) < 1e-3


def test_a_band_that_never_changes_stays_finite() -> None:
    normaliser = Normaliser(MELS)
    normaliser.set(torch.full((MELS,), -100.0), torch.zeros(MELS))
    assert torch.isfinite(normaliser(torch.full((1, MELS, 5), -99.0))).all()


def test_a_median_that_is_taken_away_takes_a_steady_colour_with_it() -> None:
    spec = torch.randn(2, MELS, 101) * 5 - 60
    colour = torch.linspace(-20, 20, MELS)[None, :, None]
    normaliser = Normaliser(MELS, clip_median=True)
    assert torch.allclose(normaliser.centre(spec), normaliser.centre(spec + colour), atol=1e-4)
    assert float(normaliser.centre(spec).median(dim=-1).values.abs().max()) < 1e-5
    assert Normaliser(MELS).centre(spec) is spec


@pytest.mark.parametrize("top_db", [60.0, 100.0, 120.0])
def test_digital_silence_reads_the_floor(top_db: float) -> None:
    made = frontend(top_db=top_db)
    assert made(torch.zeros(1, RATE)).unique().tolist() == [made.floor_db]


LOUD = {
    "constant": torch.ones(RATE),
    "square": sine(1000.0)[0].sign(),
    "high square": sine(3990.0)[0].sign(),
    "alternating": torch.ones(RATE) - 2 * (torch.arange(RATE) % 2),
    "noise": torch.randn(RATE, generator=torch.Generator().manual_seed(1)).sign(),
    "sweep": torch.sin(torch.linspace(0, 80, RATE) ** 2).sign(),
}


@pytest.mark.parametrize("fft", [64, 101, 512])
@pytest.mark.parametrize("mels", [1, 4, 12])
def test_no_wave_within_full_scale_exceeds_the_ceiling(fft: int, mels: int) -> None:
    made = frontend(fft_samples=fft, hop_samples=fft // 3, num_mels=mels, fmin_hz=0.0)
    assert made.ceiling_db is not None
    assert max(float(made(wave[None]).max()) for wave in LOUD.values()) < made.ceiling_db


def test_the_ceiling_is_not_far_above_the_loudest_wave() -> None:
    made = frontend(num_mels=4)  # wide bands take in all of a line
    assert made.ceiling_db == 4.8
    centre_hz = float(made.mel_hz()[2])
    assert float(made(sine(centre_hz).sign()).max()) > 3.5
    assert frontend(kind="pcen").ceiling_db is None


def test_the_loudest_frame_there_can_be_stays_below_the_ceiling() -> None:
    # Signs are turned one by one for as long as a band of one frame gains by it.
    made = frontend(fft_samples=64, hop_samples=64, num_mels=3)
    window, mel = made.window.double(), made.mel_MK.double()
    basis = torch.fft.rfft(torch.diag(window)).T  # [K, T]
    for band in range(3):
        signs = torch.randn(64, generator=torch.Generator().manual_seed(band)).sign().double()
        best, last = 0.0, -1.0
        while best > last:
            last = best
            for n in range(64):
                power = [
                    float((mel[band] * (basis @ (signs * flip).to(basis.dtype)).abs() ** 2).sum())
                    for flip in (torch.ones(64), torch.ones(64).index_fill(0, torch.tensor(n), -1))
                ]
                signs[n] *= -1 if power[1] > power[0] else 1
                best = max(best, *power)
        assert 1.0 < 10 * np.log10(best) < made.ceiling_db, band
