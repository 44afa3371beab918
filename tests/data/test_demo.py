"""The demo set: the same for the same settings, varied, whole or absent, and plainly synthetic."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from chirpid.audio.encode import can_write, encode_audio, write_audio
from chirpid.data.manifest import Manifest
from chirpid.data.sources.birdsong import Bird, Note, Species, render_note, sing
from chirpid.data.sources.demo import Settings, make_demo, plan
from chirpid.data.sources.fieldwork import RECORDERS, Recorder
from chirpid.data.sources.species import SPECIES
from chirpid.data.splits import make_folds
from chirpid.errors import ConfigError, StorageError

SMALL = {"num_species": 3, "num_recordists": 8, "recordings_per_species": 8, "min_s": 1.0,
         "max_s": 2.5}  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_demo(tmp_path_factory.mktemp("demo"), **SMALL)


def samples(manifest: Manifest) -> dict[str, bytes]:
    """Return the decoded samples of each recording."""
    return {
        name: soundfile.read(manifest.root / name, dtype="float32", always_2d=True)[0].tobytes()
        for name in manifest.table["recording"]
    }


def test_the_same_settings_give_the_same_samples(demo: Manifest, tmp_path: Path) -> None:
    again = make_demo(tmp_path, **SMALL, num_threads=1)
    assert again.table.equals(demo.table)
    assert samples(again) == samples(demo)


def test_another_seed_gives_other_birds_in_another_folder(demo: Manifest) -> None:
    other = make_demo(demo.root.parent, **SMALL, seed=1)
    assert other.root != demo.root
    first, second = samples(demo), samples(other)
    assert not set(first.values()) & set(second.values())


def test_no_two_recordings_are_equal(demo: Manifest) -> None:
    assert len(set(samples(demo).values())) == len(demo.table)


def test_it_is_made_once(demo: Manifest) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in demo.root.rglob("*")}

    before = stamps()
    again = make_demo(demo.root.parent, **SMALL)
    assert stamps() == before
    assert again.table.equals(demo.table)


def test_it_says_that_it_is_synthetic(demo: Manifest) -> None:
    assert demo.synthetic
    assert "synthetic" in demo.notes[0]
    assert "synthetic" in (demo.root / "README.txt").read_text()


def test_the_manifest_is_what_the_files_are(demo: Manifest) -> None:
    assert tuple(demo.table.columns) == ("recording", "label", "group", "fold", "secondary")
    assert demo.table["fold"].dtype == np.int64
    assert demo.classes == tuple(sorted(demo.classes))
    assert (demo.table["label"].value_counts() == 8).all()
    described = pd.read_csv(demo.root / "metadata.csv")
    for row in described.itertuples():
        info = soundfile.info(demo.root / row.filename)
        assert (info.samplerate, info.channels) == (row.sample_rate_hz, row.num_channels)
        assert info.duration == pytest.approx(row.duration_s, abs=0.1)
        assert 0.9 <= row.duration_s <= 2.6
    assert set(described["secondary"].fillna("")) <= {"", *demo.classes}


def test_formats_rates_channels_and_lengths_differ(demo: Manifest) -> None:
    described = pd.read_csv(demo.root / "metadata.csv")
    assert set(described["sample_rate_hz"]) == {22050, 32000, 44100, 48000}
    assert set(described["format"]) >= {"WAV", "FLAC", "OGG"}
    assert ("MP3" in set(described["format"])) == can_write("MP3")
    assert set(described["num_channels"]) == {1, 2}
    assert described["duration_s"].nunique() > 15


def test_a_recordist_keeps_one_recorder(demo: Manifest) -> None:
    described = pd.read_csv(demo.root / "metadata.csv")
    kits = described.groupby("recordist")[["sample_rate_hz", "format", "num_channels"]].nunique()
    assert (kits == 1).all().all()


def test_every_recording_has_sound_and_no_bad_sample(demo: Manifest) -> None:
    for name in demo.table["recording"]:
        wave, _ = soundfile.read(demo.root / name, dtype="float32")
        assert np.isfinite(wave).all()
        assert 0.005 < np.abs(wave).max() <= 1.0
        assert np.sqrt(np.mean(wave**2)) > 1e-4


def test_the_default_set_splits_into_five_folds_with_every_species_in_each() -> None:
    takes = plan(Settings(6, 10, 16, 3.0, 14.0, 0))
    assert len(takes) == 96
    assert {take.recordist for take in takes} == set(range(10))
    folds = make_folds(
        kind="grouped_kfold",
        labels_R=np.array([take.species for take in takes]),
        groups_R=[f"recordist {take.recordist}" for take in takes],
        audio_hash_R=[f"{take.species} {take.number}" for take in takes],
        official_R=np.full(96, -1),
        recording_N=np.arange(96),
        class_names=[species.name for species in SPECIES[:6]],
    )
    assert not folds.leaky
    assert not any("Not validated" in note for note in folds.notes)


def test_more_recordings_do_not_change_the_recordists_of_other_species() -> None:
    few, many = plan(Settings(3, 8, 8, 1.0, 2.0, 0)), plan(Settings(3, 8, 9, 1.0, 2.0, 0))
    assert {t.species for t in few} == {t.species for t in many}
    assert len(many) == len(few) + 3


@pytest.mark.parametrize(
    ("change", "message"),
    [({"num_species": 1}, "num_species=1"), ({"num_species": 25}, "2 to 24"),
     ({"min_s": 9.0}, "min_s=9"), ({"min_s": 0.1}, "min_s=0.1")],
)  # fmt: skip
def test_impossible_settings_are_refused(
    change: dict[str, float], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_demo(tmp_path, **{**SMALL, **change})
    assert not list(tmp_path.iterdir())


def test_a_root_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        make_demo(tmp_path / "file", **SMALL)


def _make(root: str) -> None:
    make_demo(Path(root), **SMALL)


def test_two_processes_may_make_one_set_at_once(demo: Manifest, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=_make, args=(str(tmp_path),)) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
        assert maker.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == [demo.root.name]
    assert samples(make_demo(tmp_path, **SMALL)) == samples(demo)


def test_a_killed_run_leaves_no_set_and_its_remains_are_removed(
    demo: Manifest, tmp_path: Path
) -> None:
    maker = multiprocessing.get_context("fork").Process(target=_make, args=(str(tmp_path),))
    maker.start()
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".*/audio/*")) and time.monotonic() < until:
        time.sleep(0.005)
    assert maker.pid is not None
    os.kill(maker.pid, signal.SIGKILL)
    maker.join(60)
    assert not (tmp_path / demo.root.name).exists()
    (left,) = tmp_path.iterdir()
    for path in (left, left / "audio"):
        os.utime(path, (0, 0))  # two hours ago would do
    assert samples(make_demo(tmp_path, **SMALL)) == samples(demo)
    assert [path.name for path in tmp_path.iterdir()] == [demo.root.name]


@pytest.mark.parametrize("species", SPECIES, ids=lambda species: species.name)
def test_every_species_sings_below_half_of_the_lowest_rate(species: Species) -> None:
    rate_hz = min(recorder.sample_rate_hz for recorder in RECORDERS)
    wave = sing(species, Bird(), 4.0, rate_hz, np.random.default_rng(0))
    assert wave.shape == (4 * rate_hz,)
    assert 0.3 < np.abs(wave).max() <= 1.5
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    top = np.fft.rfftfreq(len(wave), 1 / rate_hz) > 0.48 * rate_hz
    assert spectrum[top].sum() < 1e-3 * spectrum.sum()


def test_species_are_told_apart_by_name() -> None:
    assert len({species.name for species in SPECIES}) == len(SPECIES) == 24


def test_a_note_is_at_the_pitch_it_says() -> None:
    note = Note(1.0, (3000.0, 3000.0), overtones=(0.5,))
    wave = render_note(note, 1.1, 1.0, 48000, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(wave))
    assert np.argmax(spectrum) == pytest.approx(3300, abs=2)
    assert spectrum[6600] == pytest.approx(0.5 * spectrum[3300], rel=0.05)


def test_an_overtone_above_half_the_rate_does_not_fold_back() -> None:
    note = Note(1.0, (6000.0, 6000.0), overtones=(0.5,))
    wave = render_note(note, 1.0, 1.0, 22050, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(wave))
    assert spectrum[22050 - 12000] < 1e-3 * spectrum[6000]


@pytest.mark.parametrize("recorder", RECORDERS, ids=lambda r: f"{r.container}-{r.subtype}")
def test_what_is_encoded_decodes_to_nearly_the_same(recorder: Recorder, tmp_path: Path) -> None:
    container, subtype = recorder.container, recorder.subtype
    if not can_write(container, subtype):
        pytest.skip(f"this libsndfile writes no {container}")
    time_s = np.arange(3 * 44100) / 44100
    wave = np.stack([np.sin(2 * np.pi * 440 * time_s), 0.5 * np.sin(2 * np.pi * 880 * time_s)], 1)
    path = tmp_path / "tone"
    write_audio(path, (0.5 * wave).astype(np.float32), 44100, container=container, subtype=subtype)
    again, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 44100
    assert again.shape[1] == 2
    middle = slice(44100, 2 * 44100)
    spectrum = np.abs(np.fft.rfft(again[middle], axis=0)) / 44100 * 2
    assert spectrum[440, 0] == pytest.approx(0.5, rel=0.02)
    assert spectrum[880, 1] == pytest.approx(0.25, rel=0.02)


def test_loud_samples_clip_and_do_not_wrap() -> None:
    data = encode_audio(np.array([2.0, -3.0, 0.5], dtype=np.float32), 8000)
    assert np.frombuffer(data[-6:], "<i2").tolist() == [32767, -32768, 16384]


def test_a_format_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(ConfigError, match="Cannot write AAC"):
        encode_audio(np.zeros(8, np.float32), 8000, container="AAC")
