from __future__ import annotations

import ctypes
import mmap
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

import chirpid.audio.scan as scan_module
from chirpid.audio.files import UnusableRecordingError
from chirpid.audio.scan import scan, scan_header


def tone(num_frames: int, rate_hz: int, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * 1000 * np.arange(num_frames) / rate_hz)


def kinds(path: Path) -> str:
    return " | ".join(finding.kind for finding in scan(path).findings)


def test_levels_are_rms_in_db_re_full_scale(tmp_path: Path) -> None:
    wave = np.concatenate([tone(16000, 32000, 0.5), np.zeros(16000), tone(4000, 32000, 0.05)])
    soundfile.write(tmp_path / "a.wav", wave, 32000, subtype="FLOAT")
    seen = scan(tmp_path / "a.wav")
    half = 20 * np.log10(0.5 / np.sqrt(2))
    assert seen.levels == pytest.approx([half, half, -120, -120, half - 20], abs=0.01)
    assert (seen.num_frames, seen.sample_rate_hz, seen.format) == (36000, 32000, "WAV")
    assert seen.peak == pytest.approx(0.5, abs=1e-4)


def test_levels_do_not_drift_where_a_quarter_second_is_no_whole_number(tmp_path: Path) -> None:
    rate_hz = 22050  # 5512.5 frames a step
    wave = np.zeros(400 * rate_hz)
    wave[300 * rate_hz : 301 * rate_hz] = tone(rate_hz, rate_hz)
    soundfile.write(tmp_path / "a.wav", wave, rate_hz)
    loud = np.flatnonzero(scan(tmp_path / "a.wav").levels > -100)
    assert loud.tolist() == [1200, 1201, 1202, 1203]


@pytest.mark.parametrize("block_samples", [997, 8000, 1 << 18])
def test_a_scan_does_not_depend_on_its_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_samples: int
) -> None:
    rng = np.random.default_rng(0)
    wave = 0.2 * rng.standard_normal((50000, 3))
    soundfile.write(tmp_path / "a.flac", wave, 44100)
    once = scan(tmp_path / "a.flac")
    monkeypatch.setattr(scan_module, "BLOCK_SAMPLES", block_samples)
    again = scan(tmp_path / "a.flac")
    assert again.audio_hash == once.audio_hash
    assert np.allclose(again.levels, once.levels, atol=1e-5)


def test_duplicate_audio_has_one_hash_in_any_container(tmp_path: Path) -> None:
    wave = (tone(9000, 32000) * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", wave, 32000)
    soundfile.write(tmp_path / "a.flac", wave, 32000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave, wave], axis=1), 32000)
    soundfile.write(tmp_path / "slower.wav", wave, 16000)
    soundfile.write(tmp_path / "other.wav", wave[1:], 32000)
    hashes = {path.name: scan(path).audio_hash for path in tmp_path.iterdir()}
    assert hashes["a.wav"] == hashes["a.flac"] == hashes["stereo.wav"]
    assert len(set(hashes.values())) == 3
    assert scan(tmp_path / "a.wav").file_hash != scan(tmp_path / "a.flac").file_hash


def test_channels_that_cancel_give_the_loudest(tmp_path: Path) -> None:
    left = tone(32000, 32000)
    for name, right, channel in (("anti", -left, 0), ("weak", 0 * left, -1), ("both", left, -1)):
        soundfile.write(tmp_path / f"{name}.wav", np.stack([left, right], axis=1), 32000)
        seen = scan(tmp_path / f"{name}.wav")
        assert seen.channel == channel, name
        assert seen.levels.max() > -20, name
    assert "cancel" in kinds(tmp_path / "anti.wav")
    soundfile.write(tmp_path / "quiet.wav", np.stack([-0.5 * left, 0.52 * left], axis=1), 32000)
    assert scan(tmp_path / "quiet.wav").channel == 1
    soundfile.write(tmp_path / "other.wav", np.stack([left[::-1], -left[::-1]], axis=1), 32000)
    assert scan(tmp_path / "anti.wav").audio_hash != scan(tmp_path / "other.wav").audio_hash


def test_odd_recordings_are_told_and_sound_ones_are_not(tmp_path: Path) -> None:
    wave = tone(32000, 32000)
    bad = wave.copy()
    bad[:5] = np.nan
    half = np.concatenate([wave, np.zeros(32000)])
    waves = {
        "fine": wave,
        "NaN": bad,
        "Digital silence from end": 0 * wave,
        "Digital silence for over": half,
        "Clipped": np.clip(3 * wave, -1, 1),
        "scale of integers": 20000 * wave,
    }
    for said, samples in waves.items():
        path = tmp_path / f"{said}.wav"
        soundfile.write(path, samples, 32000, subtype="FLOAT")
        assert said in kinds(path) if said != "fine" else kinds(path) == ""
    assert scan(tmp_path / "NaN.wav").num_bad_samples == 5


def test_the_length_is_what_decodes_not_what_the_header_says(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp3"
    soundfile.write(path, tone(96000, 32000), 32000, format="MP3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seen = scan(path)
    assert 30000 < seen.num_frames < 60000
    assert "Another length" in kinds(path)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_flac_file_that_breaks_off_is_refused_with_the_time(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.flac"
    noise = 0.1 * np.random.default_rng(0).standard_normal(32000 * 20)
    soundfile.write(path, noise, 32000)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UnusableRecordingError, match=r"cannot be decoded after \d+\.\d s"):
        scan(path)


def test_an_absurd_sample_rate_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "odd.wav"
    soundfile.write(path, tone(3200, 32000), 32000)
    data = bytearray(path.read_bytes())
    for rate_hz in (2_000_000_000, 7):
        data[24:28] = rate_hz.to_bytes(4, "little")
        path.write_bytes(data)
        for look in (scan, scan_header):
            with pytest.raises(UnusableRecordingError, match="sample rate"):
                look(path)


def test_a_long_recording_is_scanned_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 32000, 1, "PCM_16") as file:
        for _ in range(10):
            file.write(np.zeros(32000 * 60, dtype=np.int16))
    tracemalloc.start()
    try:
        seen = scan(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen.duration_s == 600
    assert peak_bytes < 16 << 20


def test_a_recording_is_known_by_its_header_whatever_its_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(32000, 32000), 32000)
    (tmp_path / "a.raw").write_bytes((tmp_path / "a.wav").read_bytes())
    for look in (scan, scan_header):
        assert look(tmp_path / "a.raw").num_frames == look(tmp_path / "a.wav").num_frames == 32000


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="nobody counts descriptors here")
def test_no_file_stays_open(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(32000, 32000), 32000)
    (tmp_path / "bad.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:30])
    before = len(os.listdir("/proc/self/fd"))
    for look in (scan, scan_header):
        look(tmp_path / "a.wav")
        with pytest.raises(UnusableRecordingError):
            look(tmp_path / "bad.wav")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_header_scan_promises_what_a_full_scan_finds(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(70000, 44100), 44100)
    header, full = scan_header(path), scan(path)
    assert header.num_frames == full.num_frames
    assert len(header.levels) == len(full.levels)
    (tmp_path / "copy.flac").write_bytes(path.read_bytes())
    assert scan_header(tmp_path / "copy.flac").audio_hash == header.audio_hash


def cached_bytes(path: Path) -> int:
    """Return how much of a file the system holds in RAM."""
    num_pages = -(-path.stat().st_size // mmap.PAGESIZE)
    with open(path, "r+b") as handle, mmap.mmap(handle.fileno(), 0) as memory:
        held = (ctypes.c_ubyte * num_pages)()
        first = ctypes.c_char.from_buffer(memory)
        told = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(memory)), held
        )
        del first
        assert told == 0
    return sum(page & 1 for page in held) * mmap.PAGESIZE


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="nothing can be asked of the system")
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_header_scan_reads_little_more_than_the_two_ends(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"long.{suffix}"
    rng = np.random.default_rng(0)
    soundfile.write(path, 0.1 * rng.standard_normal(2_000_000), 32000)
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached_bytes(path):
        pytest.skip("this file system keeps what was written in RAM")
    scan_header(path)
    assert 0 < cached_bytes(path) <= 2 * scan_module.END_BYTES + 2**18 < path.stat().st_size
