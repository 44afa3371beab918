"""The native front end against the definition, against torch, and against itself."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chirpid import native
from chirpid.audio.frontend import MIN_POWER, FrontEnd
from chirpid.audio.mel import BandedMel, mel_power
from chirpid.native.logmel import VERSION, supports
from tests.examples import examples
from tests.spectra import reference_power

LIBRARY = native.handle()
needs_library = pytest.mark.skipif(LIBRARY is None, reason="the native library is not there")
WIDTHS = range(LIBRARY.chirpid_widest() + 1) if LIBRARY is not None else range(0)
RATE = 32000


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> Iterator[int]:
    before = LIBRARY.chirpid_width()
    assert LIBRARY.chirpid_use_width(request.param) == 0
    yield request.param
    LIBRARY.chirpid_use_width(before)


def frontend(fft: int = 1024, hop: int = 320, mels: int = 128, **more: object) -> FrontEnd:
    chosen = {"kind": "logmel", "fmin_hz": 50.0, "fmax_hz": 15000.0, **more}
    return FrontEnd(sample_rate_hz=RATE, fft_samples=fft, hop_samples=hop, num_mels=mels, **chosen)


def sounds(num_samples: int = RATE) -> dict[str, np.ndarray]:
    time_s = np.arange(num_samples) / RATE
    noise = np.random.default_rng(0).standard_normal(num_samples)
    click = np.zeros(num_samples)
    click[num_samples // 2] = 1
    waves = {
        "noise": 0.1 * noise,
        "quiet noise": 1e-4 * noise,
        "hardly any noise": 1e-30 * noise,
        "4 kHz": np.sin(2 * np.pi * 4000 * time_s),
        "low tone": np.sin(2 * np.pi * 137.3 * time_s),
        "quiet tone": 1e-4 * np.sin(2 * np.pi * 4000 * time_s),
        "full scale": np.sign(np.sin(2 * np.pi * 1000 * time_s) + 1e-9),
        "chirp": np.sin(2 * np.pi * (500 + 3000 * time_s) * time_s),
        "click": click,
        "DC": np.ones(num_samples),
        "silence": np.zeros(num_samples),
    }
    return {name: wave.astype(np.float32) for name, wave in waves.items()}


def errors(front: FrontEnd, wave: np.ndarray) -> dict[str, np.ndarray]:
    """Return the distance from the definition in log10 of power, by implementation."""
    found = {"native": front(torch.from_numpy(wave)[None])[0]}
    tables = front.window, front.mel_MK
    found["torch"] = in_db(mel_power(torch.from_numpy(wave)[None], *tables, front.hop_samples))[0]
    power = torch.empty_like(found["native"])
    BandedMel(*tables, front.hop_samples).write(torch.from_numpy(wave), power)
    found["banded"] = in_db(power)
    power = reference_power(
        wave, rate_hz=RATE, fft=front.fft_samples, hop=front.hop_samples, mels=front.num_mels,
        fmin=50.0, fmax=15000.0,
    )  # fmt: skip
    wanted = np.log10(np.maximum(power, MIN_POWER))
    return {name: np.abs(spec.double().numpy() / 10 - wanted) for name, spec in found.items()}


def in_db(power: torch.Tensor) -> torch.Tensor:
    return (10 * torch.log10(power.clamp_min(MIN_POWER))).clamp_min(-100)


def check_no_further_than_torch(front: FrontEnd, wave: np.ndarray) -> None:
    error = errors(front, wave)
    by_torch = error["torch"]
    for name in ("native", "banded"):
        assert error[name].max() < max(2 * by_torch.max(), 2e-4), name
        assert np.sqrt((error[name] ** 2).mean()) < 1.2 * np.sqrt((by_torch**2).mean()) + 2e-6, name


@pytest.mark.parametrize("name", sounds())
@pytest.mark.parametrize(("fft", "hop", "mels"), [(64, 20, 8), (1024, 320, 128), (8192, 999, 90)])
def test_it_is_as_near_to_the_definition_as_torch(name: str, fft: int, hop: int, mels: int) -> None:
    check_no_further_than_torch(frontend(fft, hop, mels), sounds()[name])


def test_it_is_as_near_to_the_definition_as_torch_on_real_recordings(shared_data: Path) -> None:
    files = sorted((shared_data / "puerto-rico-birds").rglob("*.ogg"))[:12]
    assert files
    for path in files:
        wave, _ = soundfile.read(path, frames=RATE, dtype="float32", always_2d=True)
        check_no_further_than_torch(frontend(), np.ascontiguousarray(wave[:, 0]))


@needs_library
@given(
    fft=st.sampled_from([64, 128, 256, 512, 1024, 2048, 4096, 8192]),
    hop=st.floats(0.03, 1),
    mels=st.integers(4, 140),
    edges=st.tuples(st.floats(0, 16000), st.floats(0, 16000)),
    length=st.floats(1, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=examples(60), deadline=None)
def test_any_setting_gives_what_torch_gives_and_any_width_the_same_bits(
    fft: int, hop: float, mels: int, edges: tuple[float, float], length: float, seed: int
) -> None:
    low, high = sorted(edges)
    assume(high - low > 500)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a band is narrower than a bin
        front = frontend(fft, max(1, round(fft * hop)), mels, fmin_hz=low, fmax_hz=high)
    waves = torch.randn(2, min(round(fft * length), 40000)) * 0.1
    assume(waves.shape[1] >= fft)
    before = LIBRARY.chirpid_width()
    found = []
    for number in WIDTHS:
        LIBRARY.chirpid_use_width(number)
        found.append(front(waves))
    LIBRARY.chirpid_use_width(before)
    for spec in found[1:]:
        assert torch.equal(spec, found[0])
    wanted = in_db(mel_power(waves, front.window, front.mel_MK, front.hop_samples))
    assert found[0].shape == wanted.shape
    assert float((found[0] - wanted).abs().max()) < 0.05


@needs_library
def test_bits_depend_on_neither_neighbours_nor_threads(width: int) -> None:
    waves = torch.from_numpy(np.stack(list(sounds(24000).values())))
    front = frontend()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = torch.cat([front(wave[None]) for wave in waves])
        for num_threads in (1, 2, 3, 8):
            torch.set_num_threads(num_threads)
            assert torch.equal(front(waves), alone)
        long = torch.randn(1, RATE * 30)
        several = front(long)
        torch.set_num_threads(1)
        assert torch.equal(front(long), several)
    finally:
        torch.set_num_threads(before)


@needs_library
def test_threads_of_the_caller_share_one_plan() -> None:
    waves = torch.randn(40, 1, RATE) * 0.1
    for _ in range(5):
        front = frontend()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(front, waves))
        assert all(torch.equal(a, front(wave)) for a, wave in zip(found, waves, strict=True))


@needs_library
@pytest.mark.parametrize("num_samples", [1024, 1025, 1279, 1280, 5119, 5120, 5121, 6143, 6145])
def test_nothing_outside_the_waveform_counts(width: int, num_samples: int) -> None:
    """What lies before and after a clip in memory is another clip's, or nobody's."""
    front = frontend()
    clip = torch.randn(num_samples) * 0.1
    wanted = front(clip[None].clone())
    around = torch.full((num_samples + 20000,), torch.nan)
    around[10000 : 10000 + num_samples] = clip
    assert torch.equal(front(around[10000 : 10000 + num_samples][None]), wanted)
    reference = in_db(mel_power(clip[None], front.window, front.mel_MK, 320))
    assert torch.allclose(wanted, reference, atol=1e-2)


@needs_library
def test_a_tone_of_4_khz_lights_the_band_of_4_khz(width: int) -> None:
    front = frontend()
    spec_MF = front(torch.from_numpy(sounds()["4 kHz"])[None])[0]
    loudest = int(spec_MF[:, 20:80].mean(dim=1).argmax())
    assert abs(float(front.mel_hz()[loudest]) - 4000) < 60
    assert abs(float(spec_MF[loudest, 50])) < 3.5


@needs_library
def test_silence_reads_the_floor_and_what_is_not_a_number_stays_so(width: int) -> None:
    for top_db in (60.0, 100.0):
        spec = frontend(top_db=top_db)(torch.zeros(1, RATE))
        assert torch.equal(spec, torch.full_like(spec, -top_db))
    wave = torch.randn(1, RATE)
    wave[0, 16000] = torch.nan
    spec_MF = frontend()(wave)[0]
    hit = spec_MF.isnan().any(dim=0).nonzero().flatten()
    assert hit.tolist() == list(range(49, 52))  # the windows that hold the sample
    loud = torch.full((1, RATE), 3e38)
    assert not frontend()(loud).isnan().logical_not().logical_and(frontend()(loud) < 100).any()


@needs_library
def test_layout_and_dtype_of_the_input_do_not_matter() -> None:
    front, waves = frontend(), torch.randn(3, RATE)
    wanted = front(waves)
    assert torch.equal(front(waves.T.contiguous().T), wanted)
    assert torch.equal(front(waves.double()), wanted)
    assert torch.equal(front(waves[0]), wanted[0])
    assert front(waves[:0]).shape == (0, *wanted.shape[1:])


@needs_library
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch, of vmap and stft
def test_gradients_and_transforms_are_left_to_torch() -> None:
    front, waves = frontend(), torch.randn(2, RATE)
    leaf = waves.clone().requires_grad_()
    front(leaf).sum().backward()
    assert float(leaf.grad.abs().sum()) > 0
    assert torch.allclose(front(waves), front(leaf), atol=1e-2)
    mapped = torch.func.vmap(lambda wave: front(wave[None])[0])(waves)
    assert torch.allclose(mapped, front(waves), atol=1e-2)
    exported = torch.export.export(front, (waves,)).module()
    assert torch.allclose(exported(waves), front(waves), atol=1e-2)


@needs_library
def test_copies_pickles_and_loaded_tables_are_heeded() -> None:
    front, wave = frontend(), torch.randn(1, RATE)
    wanted = front(wave)
    assert torch.equal(pickle.loads(pickle.dumps(front))(wave), wanted)
    assert torch.equal(copy.deepcopy(front)(wave), wanted)
    other = frontend(fmin_hz=500.0)
    assert not torch.equal(other(wave), wanted)
    other.load_state_dict(front.state_dict())
    assert torch.equal(other(wave), wanted)


@pytest.mark.parametrize("fft", [32, 1000, 1023, 16384])
def test_other_sizes_are_done_by_torch_and_that_is_said(fft: int) -> None:
    front = frontend(fft, fft // 4, 4, fmax_hz=15000.0)
    assert not supports(fft)
    assert front.implementation == "torch"
    if LIBRARY is not None:
        assert front.implementation_reason == (
            f"torch (fft_samples={fft} is not a power of two from 64 to 8192)"
        )
    check_no_further_than_torch(front, sounds()["noise"])


def test_what_runs_is_told() -> None:
    front = frontend()
    assert front.implementation == (VERSION if LIBRARY is not None else "torch")
    assert front.implementation_reason == native.describe()
