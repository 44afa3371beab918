from __future__ import annotations

import csv
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chirpid.audio.decode import MEAN, Decoder, probe, read_window, read_windows
from chirpid.audio.files import UnusableRecordingError, open_recording
from chirpid.errors import DataError
from tests.examples import examples

RATE_HZ = 32000
CODINGS = {
    "pcm16.wav": ("WAV", "PCM_16", 1),
    "pcm16_stereo.wav": ("WAV", "PCM_16", 2),
    "pcm24.wav": ("WAV", "PCM_24", 1),
    "pcm8.wav": ("WAV", "PCM_U8", 1),
    "float.wav": ("WAV", "FLOAT", 3),
    "adpcm.wav": ("WAV", "IMA_ADPCM", 1),
    "flac.flac": ("FLAC", "PCM_16", 2),
    "vorbis.ogg": ("OGG", "VORBIS", 1),
    "vorbis_stereo.ogg": ("OGG", "VORBIS", 2),
    "opus.ogg": ("OGG", "OPUS", 1),
    "mp3.mp3": ("MP3", "MPEG_LAYER_III", 1),
    "mp3_stereo.mp3": ("MP3", "MPEG_LAYER_III", 2),
    "aiff.aiff": ("AIFF", "PCM_16", 1),
}


def song(num_frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return noisy chirps, float32 [frames, channels], whose every window differs."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(num_frames)[:, None] / RATE_HZ
    tone = np.sin(2 * np.pi * (800 + 300 * np.sin(time_s)) * time_s + np.arange(channels))
    return (0.3 * tone + 0.05 * rng.standard_normal((num_frames, channels))).astype(np.float32)


def write(path: Path, wave: np.ndarray, rate_hz: int = RATE_HZ, **how: str) -> Path:
    rate_hz = 48000 if how.get("subtype") == "OPUS" else rate_hz
    soundfile.write(os.fsencode(path), wave, rate_hz, **how)
    return path


def whole(path: Path) -> np.ndarray:
    """Return the mono mean of one uninterrupted decode by libsndfile."""
    wave, _ = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    total = wave[:, 0].copy()
    for channel in range(1, wave.shape[1]):
        total += wave[:, channel]
    return total * np.float32(1 / wave.shape[1])


def cut(wave: np.ndarray, start: int, num_frames: int) -> np.ndarray:
    """Return a window of `wave` with zeros outside of it."""
    padded = np.zeros(num_frames, dtype=np.float32)
    first, stop = max(start, 0), min(start + num_frames, len(wave))
    if first < stop:
        padded[first - start : stop - start] = wave[first:stop]
    return padded


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("codings")
    made = {}
    for name, (format, subtype, channels) in CODINGS.items():
        wave = song(6 * RATE_HZ + 777, channels)
        made[name] = write(folder / name, wave, format=format, subtype=subtype)
    return made


@pytest.mark.parametrize("name", CODINGS)
def test_a_window_equals_that_part_of_a_whole_decode(
    recordings: dict[str, Path], name: str
) -> None:
    path = recordings[name]
    reference = whole(path)
    end = len(reference)
    starts = [0, 1, 5000, 70001, end // 2, end - 30000, end - 9000, end - 800, -300, end, end + 50]
    for start in starts:
        window = read_window(path, start, 2000)
        assert np.array_equal(window, cut(reference, start, 2000)), start
    assert np.array_equal(read_window(path, 0, end + 10), cut(reference, 0, end + 10))


@given(data=st.data())
@settings(
    max_examples=examples(12),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.parametrize("name", ["pcm16_stereo.wav", "vorbis.ogg", "mp3.mp3", "opus.ogg"])
def test_windows_do_not_depend_on_what_was_read_before(
    recordings: dict[str, Path], name: str, data: st.DataObject
) -> None:
    path = recordings[name]
    reference = whole(path)
    starts = data.draw(st.lists(st.integers(-1000, len(reference) + 1000), max_size=6))
    num_frames = data.draw(st.integers(1, 40000))
    expected = [cut(reference, start, num_frames) for start in starts]
    for row, start in zip(read_windows(path, starts, num_frames), expected, strict=True):
        assert np.array_equal(row, start)
    with Decoder(path) as decoder:
        for start, window in zip(starts, expected, strict=True):
            assert np.array_equal(decoder.window(start, num_frames), window)


def test_jumps_in_vorbis_are_exact(tmp_path: Path) -> None:
    path = write(tmp_path / "long.ogg", song(60 * RATE_HZ))
    reference = whole(path)
    starts = np.random.default_rng(0).integers(0, len(reference) - 1000, 150).tolist()
    with Decoder(path) as decoder:
        wrong = [
            s for s in starts if not np.array_equal(decoder.window(s, 900), reference[s : s + 900])
        ]
    assert wrong == []


def test_a_caller_may_change_a_window_without_changing_the_next(
    recordings: dict[str, Path],
) -> None:
    reference = whole(recordings["mp3.mp3"])
    with Decoder(recordings["mp3.mp3"]) as decoder:
        decoder.window(0, 4000)[:] = 7.0
        assert np.array_equal(decoder.window(2000, 4000), reference[2000:6000])


def test_windows_of_field_recordings_equal_whole_decodes(shared_data: Path) -> None:
    folder = shared_data / "puerto-rico-birds"
    with open(folder / "metadata.csv", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    chosen = [row for format in ("ogg", "mp3", "flac", "wav")
              for row in [row for row in rows if row["format"] == format][:5]]  # fmt: skip
    paths = [folder / row["filename"] for row in chosen]
    paths += [shared_data / "hostile" / name for name in ("truncated.ogg", "opus_in_ogg.ogg")]
    rng = np.random.default_rng(0)
    for path in paths:
        reference = whole(path)
        end = len(reference)
        starts = [*rng.integers(0, end, 6).tolist(), end - 100, end - 5000, end - 25000]
        windows = read_windows(path, starts, 3000)
        for start, window in zip(starts, windows, strict=True):
            assert np.array_equal(window, cut(reference, start, 3000)), (path.name, start)
            assert np.array_equal(read_window(path, start, 3000), window), (path.name, start)


def test_opening_mp3_files_with_a_wrong_xing_length_is_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.mp3", song(4 * RATE_HZ), format="MP3")
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info"))
    assert 0 < at < 100
    data[at + 12 : at + 16] = (len(data) // 2).to_bytes(4, "big")
    path.write_bytes(data)
    capfd.readouterr()
    soundfile.info(path)
    if "Xing" not in capfd.readouterr().err:
        pytest.skip("this libsndfile does not complain")
    window = read_window(path, 1000, 2000)
    assert capfd.readouterr().err == ""
    assert np.array_equal(window, whole(path)[1000:3000])


def test_field_mp3_files_are_silent(shared_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in sorted((shared_data / "puerto-rico-birds" / "audio" / "smbani").glob("*.mp3")):
        with open_recording(path) as file:
            file.read(1000)
    assert capfd.readouterr().err == ""


def test_channels_are_averaged_or_one_is_taken(tmp_path: Path) -> None:
    wave = song(4000, channels=4)
    path = write(tmp_path / "four.wav", wave, subtype="FLOAT")
    mean = read_window(path, 100, 1000)
    assert np.allclose(mean, wave[100:1100].mean(axis=1), atol=1e-6)
    assert np.array_equal(read_window(path, 100, 1000, channel=2), wave[100:1100, 2])


def test_not_finite_samples_become_zero(tmp_path: Path) -> None:
    wave = song(1000)[:, 0]
    wave[[3, 500]] = np.nan
    wave[700] = -np.inf
    path = write(tmp_path / "nan.wav", wave, subtype="FLOAT")
    window = read_window(path, 0, 1000)
    assert np.isfinite(window).all()
    assert window[3] == window[500] == window[700] == 0
    assert np.array_equal(window[4:500], wave[4:500])


def test_values_beyond_full_scale_do_not_wrap(tmp_path: Path) -> None:
    path = write(tmp_path / "loud.wav", np.array([1.5, -2.0, 0.1], np.float32), subtype="FLOAT")
    assert read_window(path, 0, 3).tolist() == pytest.approx([1.5, -2.0, 0.1])


def test_a_flac_file_without_a_length_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "piped.flac", song(90000))
    reference = whole(path)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # total samples: the low 36 bits of STREAMINFO's bytes 10 to 17
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert probe(path).num_frames > 2**60
    for start in (80000, 10, 50000, 89000):
        assert np.array_equal(read_window(path, start, 2000), cut(reference, start, 2000))


def test_chained_ogg_files_read_alike_by_window_and_as_a_whole(tmp_path: Path) -> None:
    first = write(tmp_path / "a.ogg", song(200000, seed=1)).read_bytes()
    second = write(tmp_path / "b.ogg", song(150000, seed=2)).read_bytes()
    path = tmp_path / "chained.ogg"
    path.write_bytes(first + second)
    with open_recording(path) as file:
        blocks = []
        while len(block := file.read(5000, dtype="float32")):
            blocks.append(block)
    reference = np.concatenate(blocks)
    for start in (0, 100000, len(reference) - 5000, len(reference) - 30000):
        assert np.array_equal(read_window(path, start, 3000), cut(reference, start, 3000)), start


def test_names_may_hold_any_letters_and_even_bytes_that_are_no_text(tmp_path: Path) -> None:
    for name in ("Colibrí ñandú 鳥.WAV", os.fsdecode(b"caf\xe9.wav")):
        path = write(tmp_path / name, song(500), format="WAV", subtype="PCM_16")
        assert np.array_equal(read_window(path, 0, 500), whole(path))


def test_content_decides_not_the_extension(tmp_path: Path) -> None:
    path = write(tmp_path / "really_flac.mp3", song(500), format="FLAC")
    assert probe(path).format == "FLAC"


def test_a_file_that_changed_since_the_check_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", song(500))
    with pytest.raises(DataError, match=r"a\.wav has changed since it was checked"):
        read_window(path, 0, 100, format="FLAC")
    with pytest.raises(DataError, match="has changed"):
        read_window(path, 0, 100, channel=1)
    assert read_window(path, 0, 100, format="WAV", channel=MEAN).shape == (100,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"Dear user,\nthis is no sound.\n" * 9, "plain text"),
        ("Schöne Grüße".encode() * 400, "plain text"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "macOS"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00", r"ffmpeg -i 'x\.mp3' 'x\.flac'"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (bytes(5000), "zero bytes"),
        (b"RIFF\xff\xff\xff\xffWAVEgarbage\x00\x01", "cannot be decoded"),
        (np.random.default_rng(1).bytes(3000), "cannot be decoded"),
    ],
)
def test_what_is_no_recording_is_named_with_the_reason(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "x.mp3"
    path.write_bytes(content)
    with pytest.raises(UnusableRecordingError, match=said) as caught:
        probe(path)
    assert caught.value.line().startswith("data error: x.mp3 ")
    assert "\n" not in str(caught.value)


def test_nothing_hangs_on_a_pipe_and_a_missing_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UnusableRecordingError, match="pipe"):
        probe(tmp_path / "pipe.wav")
    with pytest.raises(UnusableRecordingError, match=r"gone\.wav cannot be opened: No such file"):
        probe(tmp_path / "gone.wav")


def test_a_window_late_in_a_long_file_takes_little_memory(shared_data: Path) -> None:
    tracemalloc.start()
    try:
        read_window(shared_data / "hostile" / "very_long_7min.ogg", 9_400_000, 32000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 << 20


def test_no_file_stays_open_after_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", song(500))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(DataError):
            read_window(path, 0, 10, format="MP3")
    assert len(os.listdir("/proc/self/fd")) == before
