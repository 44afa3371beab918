"""Every file and table of the shared `hostile` folder does what its README expects."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from chirpid.audio.decode import read_window
from chirpid.audio.scan import scan
from chirpid.data.check import check_recordings
from chirpid.data.manifest import Manifest
from chirpid.data.sources import load_manifest
from chirpid.errors import DataError
from chirpid.types import OnBad

REFUSED = {
    "zero_bytes.wav": "empty",
    "header_only.wav": "no samples",
    "text_named.wav": "plain text",
    "html_404.mp3": "web page",
    "ten_ms.wav": "lasts 0.01 s",
    "one_sample.wav": "lasts 3.13e-05 s",
    "aac.m4a": "ffmpeg -i",
    "._XC000000.ogg": "side file of macOS",
}
# name: (sample rate, frames, channels, format, channel taken, something noted)
LOADED = {
    "truncated.ogg": (32000, 748736, 1, "OGG", -1, ""),
    "mp3_named.wav": (48000, 339895, 1, "MP3", -1, ""),
    "pcm_u8.wav": (32000, 96000, 1, "WAV", -1, ""),
    "s24_96k.wav": (96000, 192000, 1, "WAV", -1, ""),
    "float32.wav": (32000, 96000, 1, "WAV", -1, "Clipped"),
    "nan_inf.wav": (32000, 96000, 1, "WAV", -1, "NaN"),
    "stereo_left_only.flac": (32000, 96000, 2, "FLAC", -1, ""),
    "stereo_antiphase.flac": (32000, 96000, 2, "FLAC", 0, "cancel"),
    "four_channel.wav": (32000, 64000, 4, "WAV", -1, ""),
    "silence_5s.flac": (32000, 160000, 1, "FLAC", -1, "Digital silence"),
    "low_rate_8k.wav": (8000, 24000, 1, "WAV", -1, ""),
    "very_long_7min.ogg": (22050, 9481500, 1, "OGG", -1, ""),
    "streamed_size_ffffffff.wav": (32000, 96000, 1, "WAV", -1, ""),
    "opus_in_ogg.ogg": (24000, 120000, 1, "OGG", -1, ""),
    "UPPER CASE and spaces.MP3": (48000, 339895, 1, "MP3", -1, ""),
    "Colibrí_ñandú_鳥.ogg": (32000, 96000, 1, "OGG", -1, ""),
}


@pytest.fixture(scope="module")
def hostile(shared_data: Path) -> Path:
    return shared_data / "hostile"


@pytest.fixture(scope="module")
def as_folder(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audio files as a user's folder of two classes."""
    root = tmp_path_factory.mktemp("hostile")
    for label in ("a", "b"):
        (root / label).mkdir()
    for index, name in enumerate([*REFUSED, *LOADED]):
        shutil.copy(hostile / name, root / "ab"[index % 2] / name)
    return root


def test_no_file_of_the_folder_was_forgotten(hostile: Path) -> None:
    audio = {name for name in os.listdir(hostile) if not name.endswith((".csv", ".md"))}
    assert audio - {"bad_csv"} == REFUSED.keys() | LOADED.keys()


def test_a_folder_of_them_names_all_that_are_bad_in_one_pass(as_folder: Path) -> None:
    manifest = load_manifest("folder", name="h", root=as_folder)
    with pytest.raises(DataError) as caught:
        check_recordings(manifest)
    said = str(caught.value)
    for name, reason in REFUSED.items():
        if name.startswith("._"):
            assert name not in said
            continue
        (line,) = [line for line in said.splitlines() if f"/{name}: " in line]
        assert reason in line
    assert not any(f"/{name}: " in said for name in LOADED)


def test_skipping_the_bad_ones_keeps_all_that_can_be_heard(as_folder: Path) -> None:
    manifest = load_manifest("folder", name="h", root=as_folder)
    checked = check_recordings(manifest, on_bad=OnBad.skip)
    table = checked.manifest.table.set_index("recording")
    table.index = [name[2:] for name in table.index]
    assert set(table.index) == LOADED.keys()
    notes = "\n".join(checked.manifest.notes)
    for name, (rate_hz, frames, channels, format, channel, _) in LOADED.items():
        row = table.loc[name]
        assert row["sample_rate_hz"] == rate_hz
        assert row["num_frames"] == frames
        assert row["num_channels"] == channels
        assert (row["format"], row["channel"]) == (format, channel), name
    for noted in ("Clipped", "NaN", "cancel", "Digital silence"):
        assert noted in notes
    for row, path in enumerate(checked.manifest.paths):
        facts = checked.manifest.table.iloc[row]
        window = read_window(
            path, 100, 50000, channel=int(facts["channel"]), format=str(facts["format"])
        )
        assert np.isfinite(window).all()
        assert (np.abs(window).max() > 0.01) == ("silence" not in path.name), path.name
        if path.name == "pcm_u8.wav":
            assert abs(window.mean()) < 0.5 / 128  # half a step of 8 bits


@pytest.mark.parametrize("name", LOADED)
def test_oddities_of_a_file_are_told(hostile: Path, name: str) -> None:
    said = " ".join(finding.kind for finding in scan(hostile / name).findings)
    noted = LOADED[name][-1]
    assert noted in said if noted else said == ""


def test_a_table_that_names_them_gives_the_reason_for_each(hostile: Path, tmp_path: Path) -> None:
    lines = [f'"{name}",{"ab"[index % 2]},g' for index, name in enumerate([*REFUSED, *LOADED])]
    table = tmp_path / "labels.csv"
    table.write_text("filename,label,group\n" + "\n".join(lines), encoding="utf-8")
    manifest = load_manifest("csv", name="h", root=hostile, table=str(table))
    with pytest.raises(DataError) as caught:
        check_recordings(manifest)
    for name, reason in REFUSED.items():
        (line,) = [line for line in str(caught.value).splitlines() if f"  {name}: " in line]
        assert reason in line


def test_files_without_label_are_looked_at_too(hostile: Path) -> None:
    manifest = load_manifest("csv", name="h", root=hostile, table="metadata.csv")
    with pytest.raises(DataError) as caught:
        check_recordings(manifest)
    (line,) = [line for line in str(caught.value).splitlines() if "  header_only.wav: " in line]
    assert "has no label" in line
    assert "no samples" in line


STOPS = {
    "missing_file.csv": "XC999999999.ogg: does not exist",
    "empty_label.csv": "2 of 39 recordings",
    "same_file_two_labels.csv": "more than one label: 'Adelaide's Warbler' in row 2, 'Pearly-eyed",
    "missing_group.csv": "3 of 39 recordings",
    "no_label_column.csv": "no column 'label'",
    "path_escapes_folder.csv": "../../outside.ogg: lies outside",
    "header_only.csv": "no rows",
    "zero_bytes.csv": "0 bytes",
}
GOES_ON = {
    "duplicate_rows.csv": "Dropped 3 rows",
    "one_group_only.csv": "",
    "one_recording_per_class.csv": "",
    "semicolons.csv": "",
    "utf16.csv": "",
    "bom.csv": "",
    "label_case_and_spaces.csv": "nearly the same",
    "backslashes.csv": "",
}


def load(shared_data: Path, table: str) -> Manifest:
    path = shared_data / "hostile" / "bad_csv" / table
    root = shared_data / "puerto-rico-birds"
    return load_manifest("csv", name=table, root=root, table=str(path))


def test_no_table_was_forgotten(hostile: Path) -> None:
    assert set(os.listdir(hostile / "bad_csv")) == STOPS.keys() | GOES_ON.keys()


@pytest.mark.parametrize("table", STOPS)
def test_a_table_that_is_wrong_stops_with_the_reason(shared_data: Path, table: str) -> None:
    with pytest.raises(DataError) as caught:
        check_recordings(load(shared_data, table), kind="header")
    assert STOPS[table] in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("table", GOES_ON)
def test_a_table_that_can_be_understood_is(shared_data: Path, table: str) -> None:
    manifest = check_recordings(load(shared_data, table), kind="header").manifest
    with open(shared_data / "puerto-rico-birds" / "metadata.csv", encoding="utf-8") as handle:
        truth = {row["filename"]: row for row in csv.DictReader(handle)}
    assert len(manifest) == (13 if table.startswith("one_recording") else 39)
    assert len(manifest.classes) == (26 if table.startswith("label_case") else 13)
    notes = " ".join(note for note in manifest.notes if "dataset.check=header" not in note)
    assert GOES_ON[table] in notes if GOES_ON[table] else notes == ""
    for facts in manifest.table.itertuples():
        row = truth[facts.recording]
        assert facts.label.lower() == row["label"].lower()
        assert facts.group == ("Daniel Lane" if table.startswith("one_group") else row["recordist"])


LEFT = {
    "missing_file.csv": 38,
    "empty_label.csv": 37,
    "same_file_two_labels.csv": 38,
    "path_escapes_folder.csv": 38,
}


@pytest.mark.parametrize("table", LEFT)
def test_skipping_bad_rows_keeps_the_rest(shared_data: Path, table: str) -> None:
    checked = check_recordings(load(shared_data, table), kind="header", on_bad=OnBad.skip)
    assert len(checked.manifest) == LEFT[table]
    assert "nan" not in checked.manifest.classes
