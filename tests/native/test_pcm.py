"""WAV files read natively: libsndfile's samples to the bit, or left to libsndfile."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chirpid import native
from chirpid.audio.mono import make_finite, to_mono
from chirpid.native.pcm import SUBTYPES, int16_to_mono, open_wav
from tests.examples import examples

pytestmark = pytest.mark.skipif(native.handle() is None, reason="no native library")

CONTAINERS = ("WAV", "WAVEX", "RF64")
SHARED_TMP = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=examples(150),
)


def song(num_frames: int, channels: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.9 * rng.uniform(-1, 1, (num_frames, channels))).astype(np.float64)


def write(path: Path, container: str, subtype: str, channels: int, num_frames: int = 333) -> Path:
    wave = song(num_frames, channels)
    with soundfile.SoundFile(path, "w", 32000, channels, subtype, format=container) as file:
        if channels == 2:
            file.title = "a title, in a LIST before the data"
        file.write(wave)
    return path


def by_libsndfile(path: Path, channel: int) -> np.ndarray:
    """Return all of a file as mono, as `chirpid.audio` reads what is not read natively."""
    with soundfile.SoundFile(path) as file:
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        block = file.read(dtype=dtype, always_2d=True)
        if dtype == "int16":
            block = np.multiply(block, np.float32(2.0**-15), dtype=np.float32)
    mono = np.ascontiguousarray(to_mono(block, channel))
    make_finite(mono)
    return mono


def same_as_libsndfile(path: Path) -> bool:
    """Check a file against libsndfile; return whether it was read natively."""
    wav = open_wav(path)
    if wav is None:
        return False
    info = soundfile.info(path)
    assert info.format in CONTAINERS
    facts = (info.samplerate, info.frames, info.channels, info.subtype)
    assert (wav.sample_rate_hz, wav.num_frames, wav.num_channels, wav.subtype) == facts
    for channel in range(-1, min(wav.num_channels, 3)):
        found = np.full(wav.num_frames, np.nan, dtype=np.float32)
        wav.read_into(found, 0, channel)
        assert np.array_equal(found, by_libsndfile(path, channel))
    wav.close()
    return True


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_linear_coding_has_libsndfiles_bits(
    tmp_path: Path, container: str, subtype: str, channels: int
) -> None:
    num_frames = 40001 - (subtype == "PCM_24" or subtype == "PCM_U8")
    path = write(tmp_path / "a.wav", container, subtype, channels, num_frames)
    assert same_as_libsndfile(path)


@given(start=st.integers(-2000, 2000), num_frames=st.integers(0, 2500), channel=st.integers(-1, 1))
@SHARED_TMP
def test_a_window_is_that_part_of_the_file_and_zero_beside_it(
    tmp_path: Path, start: int, num_frames: int, channel: int
) -> None:
    path = tmp_path / "two.wav"
    if not path.exists():
        write(path, "WAV", "PCM_16", 2, 1000)
    padded = np.concatenate(
        [np.zeros(2000, np.float32), by_libsndfile(path, channel), np.zeros(4000, np.float32)]
    )
    wav = open_wav(path)
    assert wav is not None
    found = np.full(num_frames, np.nan, dtype=np.float32)
    wav.read_into(found, start, channel)
    assert np.array_equal(found, padded[start + 2000 : start + 2000 + num_frames])


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 139), st.one_of(st.integers(0, 255), st.sampled_from(b"\0\1\2\3\xff"))
    ),
    max_size=4,
)


@given(
    container=st.sampled_from(CONTAINERS),
    subtype=st.sampled_from(SUBTYPES),
    channels=st.integers(1, 3),
    changes=CHANGES,
    cut=st.integers(0, 2000),
    tail=st.one_of(st.just(b""), st.binary(max_size=40)),
    with_size=st.booleans(),
)
@SHARED_TMP
def test_a_damaged_header_is_read_as_libsndfile_reads_it_or_left_to_it(
    tmp_path: Path, container: str, subtype: str, channels: int, changes: list[tuple[int, int]],
    cut: int, tail: bytes, with_size: bool,
) -> None:  # fmt: skip
    sound = tmp_path / f"{container}-{subtype}-{channels}.wav"
    if not sound.exists():
        write(sound, container, subtype, channels)
    data = bytearray(sound.read_bytes())
    for at, value in changes:
        data[at] = value
    data = data[: len(data) - cut] if cut < 1000 else data
    data += tail
    if with_size and len(data) > 8 and container != "RF64":
        data[4:8] = (len(data) - 8).to_bytes(4, "little")
    path = tmp_path / "damaged.wav"
    path.write_bytes(data)
    same_as_libsndfile(path)


def with_chunk(data: bytes, where: str, id: bytes, content: bytes) -> bytes:
    """Return a WAV file with one more chunk, before its data or at its end, and the right size."""
    chunk = id + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
    at = data.find(b"data") if where == "before" else len(data)
    longer = bytearray(data[:at] + chunk + data[at:])
    longer[4:8] = (len(longer) - 8).to_bytes(4, "little")
    return bytes(longer)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("id", [b"guan", b"wamd", b"JUNK", b"bext", b"iXML", b"data", b"fmt "])
def test_chunks_of_recorders_are_passed_over_and_others_judged_by_libsndfile(
    tmp_path: Path, where: str, id: bytes
) -> None:
    sound = write(tmp_path / "a.wav", "WAV", "PCM_16", 1)
    path = tmp_path / "b.wav"
    path.write_bytes(with_chunk(sound.read_bytes(), where, id, b"GUANO|Version:1.0\nNote: x\n"))
    known = id in (b"guan", b"wamd", b"JUNK")
    assert same_as_libsndfile(path) == known


def test_what_is_no_wav_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for name, content in (("empty.wav", b""), ("riff.wav", b"RIFF"), ("text.wav", b"no sound")):
        (tmp_path / name).write_bytes(content)
    before = len(os.listdir("/proc/self/fd"))
    for name in ("pipe.wav", "gone.wav", "empty.wav", "riff.wav", "text.wav", "."):
        assert open_wav(tmp_path / name) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_shrinks_while_it_is_open_ends_in_zeros(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", "WAV", "PCM_16", 1, 100_000)
    whole = by_libsndfile(path, -1)
    wav = open_wav(path)
    assert wav is not None
    os.truncate(path, 44 + 2 * 70_000 + 1)
    found = np.full(100_000, np.nan, dtype=np.float32)
    wav.read_into(found, 0, -1)
    assert np.array_equal(found[:70_000], whole[:70_000])
    assert not found[70_000:].any()


def test_samples_in_memory_are_scaled_and_mixed(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, (1001, 3)).astype(np.int16)
    scaled = np.multiply(samples, np.float32(2.0**-15), dtype=np.float32)
    out = np.empty(1001, dtype=np.float32)
    for channel in (-1, 0, 2):
        assert int16_to_mono(samples, channel, out)
        assert np.array_equal(out, to_mono(scaled, channel))


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_every_vector_width_gives_the_same_bits(
    tmp_path: Path, subtype: str, channels: int
) -> None:
    library = native.handle()
    path = write(tmp_path / "a.wav", "WAV", subtype, channels, 1234)
    wav, found = open_wav(path), []
    before = library.chirpid_width()
    try:
        for width in range(library.chirpid_widest() + 1):
            assert library.chirpid_use_width(width) == 0
            found.append(np.full(1300, np.nan, dtype=np.float32))
            wav.read_into(found[-1], -3, -1)
    finally:
        library.chirpid_use_width(before)
    assert all(np.array_equal(one, found[0]) for one in found)
