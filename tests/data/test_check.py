from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chirpid.audio.scan import Scan, scan
from chirpid.audio.segment import SegmentRule
from chirpid.data.check import KINDS, Checked, check_recordings
from chirpid.data.manifest import CHECKED_COLUMNS, Manifest
from chirpid.data.scan_store import ScanStore, stamp_of
from chirpid.data.segments import make_segments
from chirpid.data.sources import load_manifest
from chirpid.errors import ConfigError, DataError
from chirpid.types import OnBad


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder with six recordings of two classes, one second each."""
    rng = np.random.default_rng(0)
    for label in ("owl", "tody"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for index in range(3):
            wave = 0.1 * rng.standard_normal(32000)
            soundfile.write(tmp_path / "data" / label / f"{index}.wav", wave, 32000)
    return tmp_path / "data"


def folder(root: Path) -> Manifest:
    return load_manifest("folder", name="birds", root=root)


def check(root: Path, **how: Any) -> Checked:
    return check_recordings(folder(root), **how)


def test_checked_recordings_know_their_audio(root: Path) -> None:
    checked = check(root)
    table = checked.manifest.table
    assert checked.manifest.is_checked
    assert set(CHECKED_COLUMNS) <= set(table.columns)
    assert table["num_frames"].tolist() == [32000] * 6
    assert table["sample_rate_hz"].dtype == table["channel"].dtype == np.int64
    assert table["audio_hash"].nunique() == 6
    for row, levels in enumerate(checked.levels):
        assert np.array_equal(levels, scan(checked.manifest.path(row)).levels)
    assert checked.problems == []


def test_all_problems_are_named_at_once_and_nothing_else(root: Path) -> None:
    (root / "owl" / "empty.wav").write_bytes(b"")
    (root / "owl" / "page.mp3").write_bytes(b"<html>404")
    soundfile.write(root / "owl" / "header.wav", np.zeros(0), 32000)
    soundfile.write(root / "tody" / "short.wav", np.zeros(320), 32000)
    (root / "tody" / "dangling.wav").symlink_to("nowhere")
    with pytest.raises(DataError) as caught:
        check(root)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("5 of 11 recordings cannot be used.")
    assert "dataset.on_bad=skip" in lines[0]
    said = "\n".join(lines[1:])
    for name, reason in {
        "tody/dangling.wav": "link that leads nowhere",
        "owl/empty.wav": "empty",
        "owl/page.mp3": "web page",
        "owl/header.wav": "no samples",
        "tody/short.wav": "lasts 0.01 s, under segment.min_s=0.2",
    }.items():
        assert f"  {name}: " in said
        assert reason in said


def test_skipping_leaves_out_what_is_bad_and_says_so(root: Path, tmp_path: Path) -> None:
    (root / "owl" / "empty.wav").write_bytes(b"")
    (root / "wren").mkdir()
    (root / "wren" / "text.wav").write_bytes(b"no sound at all\n" * 50)
    report = tmp_path / "run" / "problems.txt"
    checked = check(root, on_bad=OnBad.skip, report_path=report)
    assert len(checked.manifest) == len(checked.levels) == 6
    assert checked.manifest.classes == ("owl", "tody")
    notes = "\n".join(checked.manifest.notes)
    assert "Left out 2 of 8 recordings" in notes
    assert "owl/empty.wav" in notes
    assert "No recording is left of wren" in notes
    assert [line.split("\t")[0] for line in report.read_text().splitlines()] == [
        "owl/empty.wav",
        "wren/text.wav",
    ]


def test_a_long_list_is_cut_short_on_the_screen_and_whole_in_the_report(
    root: Path, tmp_path: Path
) -> None:
    for index in range(25):
        (root / "owl" / f"bad{index}.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"\.\.\. and 5 more") as caught:
        check(root, report_path=tmp_path / "problems.txt")
    assert len(str(caught.value).splitlines()) == 23
    assert len((tmp_path / "problems.txt").read_text().splitlines()) == 25


def test_rows_without_a_group_stop_even_where_bad_files_are_skipped(root: Path) -> None:
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.wav"))]
    rows = [f"{name},{name[:3]},{'Ann' if index else ''}" for index, name in enumerate(names)]
    (root / "metadata.csv").write_text("filename,label,group\n" + "\n".join(rows))
    manifest = load_manifest("csv", name="c", root=root, table="metadata.csv")
    with pytest.raises(DataError, match=r"dataset\.group_missing=skip") as caught:
        check_recordings(manifest, on_bad=OnBad.skip)
    assert "on_bad" not in str(caught.value)


def test_what_is_too_little_to_train_on_is_refused(root: Path) -> None:
    for path in (root / "owl").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="Only one class, 'tody', is left in birds after leaving"):
        check(root, on_bad=OnBad.skip)
    for path in (root / "tody").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="No usable recording is left in birds"):
        check(root, on_bad=OnBad.skip)


def test_a_second_check_decodes_only_what_changed(root: Path, tmp_path: Path) -> None:
    memory = tmp_path / "cache" / "scans.sqlite"
    first = check(root, memory_path=memory)
    again = check(root, memory_path=memory)
    assert (first.num_decoded, again.num_decoded) == (6, 0)
    assert again.manifest.table.equals(first.manifest.table)
    assert all(np.array_equal(a, b) for a, b in zip(first.levels, again.levels, strict=True))
    assert again.manifest.notes == first.manifest.notes
    soundfile.write(root / "owl" / "1.wav", 0.2 * np.ones(16000), 32000)
    third = check(root, memory_path=memory)
    assert third.num_decoded == 1
    assert third.manifest.table["num_frames"].tolist() == [32000, 16000, *[32000] * 4]
    os.utime(root / "owl" / "2.wav", ns=(1, 1))
    assert check(root, memory_path=memory).num_decoded == 1
    soundfile.write(root / "owl" / "2.wav", np.ones(9000), 32000)
    os.utime(root / "owl" / "2.wav", ns=(1, 1))
    assert check(root, memory_path=memory).num_decoded == 1


def test_a_damaged_or_unwritable_memory_costs_time_not_the_run(root: Path, tmp_path: Path) -> None:
    memory = tmp_path / "scans.sqlite"
    memory.write_bytes(b"this is no database, but it is long enough to be looked at" * 50)
    assert check(root, memory_path=memory).num_decoded == 6
    assert check(root, memory_path=memory).num_decoded == 0
    assert (tmp_path / "scans.sqlite.damaged").is_file()
    checked = check(root, memory_path=root / "owl" / "0.wav" / "scans.sqlite")
    assert checked.num_decoded == 6
    assert "cannot be remembered" in checked.manifest.notes[-1]


def test_scans_of_an_older_version_are_forgotten(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "scans.sqlite"
    check(root, memory_path=memory)
    monkeypatch.setattr("chirpid.data.scan_store.SCAN_VERSION", 10**6)
    assert check(root, memory_path=memory).num_decoded == 6


def test_the_number_of_threads_changes_nothing(root: Path) -> None:
    tables = [check(root, num_workers=workers).manifest.table for workers in (1, 2, 8)]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_progress_counts_to_the_end(root: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    check(root, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(7)]
    memory = tmp_path / "scans.sqlite"
    check(root, memory_path=memory)
    told.clear()
    check(root, memory_path=memory, progress=lambda done, total: told.append((done, total)))
    assert told == [(6, 6)]


def test_what_is_built_first_was_read_last(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where RAM does not hold all files, the system forgets those that were read first.
    looked_at: list[str] = []

    def look(path: Path) -> Scan:
        looked_at.append(f"{path.parent.name}/{path.name}")
        return scan(path)

    monkeypatch.setitem(KINDS, "full", look)
    checked = check(root, num_workers=1)
    segments, _ = make_segments(checked.manifest, checked.levels, SegmentRule(duration_s=1.0))
    built = [segments.recordings[i] for i in segments.recording_N.tolist()]
    assert looked_at == built[::-1]
    assert looked_at != sorted(looked_at)


def test_odd_recordings_are_noted_once_for_all(root: Path) -> None:
    for index in range(5):
        soundfile.write(root / "owl" / f"silent{index}.flac", np.zeros(32000 + index), 32000)
    notes = check(root).manifest.notes
    assert sum("Digital silence" in note for note in notes) == 1
    assert any("5 recordings, such as owl/silent0.flac" in note for note in notes)


def test_the_same_audio_under_two_labels_is_told(root: Path) -> None:
    wave, rate_hz = soundfile.read(root / "owl" / "0.wav")
    soundfile.write(root / "tody" / "copy.flac", wave, rate_hz)
    for label in ("owl", "tody"):
        soundfile.write(root / label / "silent.wav", np.zeros(9000), 32000)
    notes = [note for note in check(root).manifest.notes if "more than one label" in note]
    assert len(notes) == 1
    assert "owl/0.wav (owl) = tody/copy.flac (tody)" in notes[0]
    assert "silent" not in notes[0]


def test_a_header_check_is_quick_to_trust_and_says_so(root: Path) -> None:
    path = root / "owl" / "0.wav"
    soundfile.write(path, np.zeros(32000 * 3), 32000, format="MP3")
    path.write_bytes(path.read_bytes()[:-9000])
    header, full = check(root, kind="header"), check(root)
    assert header.manifest.table["num_frames"][0] > full.manifest.table["num_frames"][0]
    assert any("dataset.check=header" in note for note in header.manifest.notes)
    assert all((levels == 0).all() for levels in header.levels)
    (root / "owl" / "bad.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"owl/bad\.wav"):
        check(root, kind="header")
    with pytest.raises(ConfigError, match="full or header"):
        check(root, kind="fast")


def test_ctrl_c_keeps_what_was_scanned(root: Path, tmp_path: Path) -> None:
    memory = tmp_path / "scans.sqlite"

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(root, memory_path=memory, num_workers=1, progress=interrupt)
    assert check(root, memory_path=memory).num_decoded <= 3


WRITER = """
import sys
from pathlib import Path
from chirpid.audio.scan import Scan, scan
from chirpid.audio.segment import SegmentRule
from chirpid.data.scan_store import ScanStore, Stamp
seen = scan(Path(sys.argv[2]))
store = ScanStore(Path(sys.argv[1]))
for index in range(int(sys.argv[4])):
    store.put([(Stamp(f"{sys.argv[3]}{index}", 1, 1), seen)])
    assert store.trouble is None, store.trouble
    print("written", flush=True)
"""


def writer(memory: Path, sound: Path, name: str, num: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(memory), str(sound), name, str(num)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_and_a_kill_leave_a_sound_memory(root: Path, tmp_path: Path) -> None:
    memory, sound = tmp_path / "scans.sqlite", root / "owl" / "0.wav"
    killed, lives = writer(memory, sound, "killed", 10**6), writer(memory, sound, "lives", 40)
    assert killed.stdout is not None
    for _ in range(3):  # it is killed while it writes, having written
        assert killed.stdout.readline() == "written\n"
    killed.kill()
    killed.communicate()
    lives.communicate(timeout=60)
    assert lives.returncode == 0
    with sqlite3.connect(memory) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = [row[0] for row in base.execute("SELECT path FROM scans")]
    base.close()
    assert sum(name.startswith("lives") for name in names) == 40
    assert sum(name.startswith("killed") for name in names) > 0
    assert check(root, memory_path=memory).num_decoded == 6


def test_a_remembered_scan_is_the_scan(root: Path, tmp_path: Path) -> None:
    soundfile.write(root / "owl" / "0.wav", np.zeros((40000, 2)), 44100)
    path = root / "owl" / "0.wav"
    stamp, seen = stamp_of(path), scan(path)
    assert stamp is not None
    store = ScanStore(tmp_path / "scans.sqlite")
    store.put([(stamp, seen)])
    back = store.get(stamp)
    store.close()
    assert back is not None
    for name in seen.__dataclass_fields__:
        assert np.array_equal(getattr(back, name), getattr(seen, name)), name
    assert seen.findings
