from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from chirpid.audio.scan import scan
from chirpid.data.manifest import Manifest
from chirpid.data.sources import load_manifest
from chirpid.errors import ConfigError, DataError
from chirpid.types import OnBad

CONF = Path(__file__).parents[2] / "conf" / "dataset"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))


def csv_of(root: Path, text: str, **how: Any) -> Manifest:
    (root / "metadata.csv").write_text(text, encoding="utf-8")
    return load_manifest("csv", name="csv", root=root, table="metadata.csv", **how)


def reasons(manifest: Manifest) -> dict[str, str]:
    return {problem.recording: problem.reason for problem in manifest.problems}


def test_a_table_becomes_recordings_with_labels_and_groups(tmp_path: Path) -> None:
    touch(tmp_path, "audio/a.wav", "audio/b.wav", "audio/c.wav")
    text = "filename,label,group\na.wav,tody,Eric\nb.wav,owl,Nick\n./sub/../c.wav,tody,Nick\n"
    manifest = csv_of(tmp_path, text, audio_dir="audio")
    assert manifest.table["recording"].tolist() == ["audio/a.wav", "audio/b.wav", "audio/c.wav"]
    assert manifest.classes == ("owl", "tody")
    assert manifest.label_ids.tolist() == [1, 0, 1]
    assert manifest.table["group"].tolist() == ["Eric", "Nick", "Nick"]
    assert manifest.table["fold"].tolist() == [-1, -1, -1]
    assert manifest.notes == ()
    assert manifest.problems == ()
    assert not manifest.is_checked
    assert [path.is_file() for path in manifest.paths] == [True] * 3


def test_every_wrong_row_is_named_in_one_pass(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav", "c.wav", "d.flac", "Case.wav", "folder/x.wav", "two.wav")
    rows = [
        "a.wav,tody", "b.wav,owl", "gone.wav,tody", "c.wav,  ", ",owl", "d.wav,owl", "case.WAV,owl",
        "../out.wav,owl", "/etc/hostname,owl", r"C:\birds\a.wav,owl", "folder,owl", "none.wav,nan",
        "two.wav,owl", "two.wav,tody",
    ]  # fmt: skip
    found = reasons(csv_of(tmp_path, "filename,label\n" + "\n".join(rows)))
    expected = {
        "gone.wav": "does not exist in",
        "c.wav": "has no label (table row 5)",
        "table row 6": "names no file",
        "d.wav": "there is 'd.flac' instead",
        "case.WAV": "there is 'Case.wav', in other case",
        "../out.wav": "lies outside of dataset.root",
        "/etc/hostname": "lies outside of dataset.root",
        "C:/birds/a.wav": "path of another computer",
        "folder": "is a folder",
        "none.wav": "and has no label",
        "two.wav": "more than one label: 'owl' in row 14, 'tody' in row 15",
    }
    assert found.keys() == expected.keys()
    for recording, said in expected.items():
        assert said in found[recording], recording


def test_nothing_is_read_outside_the_root_and_links_are_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "secret.wav", "root/a.wav", "root/b.wav", "elsewhere/c.wav")
    (root / "link.wav").symlink_to(tmp_path / "secret.wav")
    (root / "far").symlink_to(tmp_path / "elsewhere")
    rows = ["a.wav,x,g", "b.wav,y,g", "../secret.wav,x,g", "link.wav,x,g", "far/c.wav,y,g"]
    text = "filename,label,group\n" + "\n".join(rows)
    manifest = csv_of(root, text)
    assert list(reasons(manifest)) == ["../secret.wav"]
    assert len(manifest) == 4
    (note,) = manifest.notes
    assert "links that lead outside" in note
    assert "2 recordings" in note
    absolute = csv_of(root, f"filename,label,group\n{root}/a.wav,x,g\nb.wav,y,g\n")
    assert absolute.table["recording"].tolist() == ["a.wav", "b.wav"]


def test_windows_separators_and_decomposed_names_find_their_files(tmp_path: Path) -> None:
    on_disk = unicodedata.normalize("NFD", "Colibrí.wav")
    touch(tmp_path, f"audio/{on_disk}", "audio/b.wav")
    composed = unicodedata.normalize("NFC", on_disk)
    assert composed != on_disk
    text = f"filename,label,group\naudio\\{composed},x,g\naudio\\b.wav,y,g\n"
    manifest = csv_of(tmp_path, text)
    assert manifest.problems == ()
    assert all(path.is_file() for path in manifest.paths)


def test_repeated_rows_are_dropped_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    text = "filename,label,group,note\na.wav,x,g,1\nb.wav,y,g,2\n./a.wav,x,g,3\na.wav,x,g,4\n"
    manifest = csv_of(tmp_path, text)
    assert len(manifest) == 2
    assert manifest.notes == ("Dropped 2 rows repeating another row.",)


@pytest.mark.parametrize("column", ["group", "fold"])
def test_rows_of_one_file_that_disagree_are_a_problem(tmp_path: Path, column: str) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    text = f"filename,label,{column}\na.wav,x,1\nb.wav,y,2\na.wav,x,2\n"
    manifest = csv_of(tmp_path, text, fold_column="fold" if column == "fold" else None)
    assert f"more than one {column}: '1' in row 2, '2' in row 4" in reasons(manifest)["a.wav"]
    assert manifest.table["recording"].tolist() == ["b.wav"]


def test_the_group_is_the_first_column_that_has_one(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    rows = "a.wav,x,,Ann,Al\nb.wav,y,,Ben,Bo\n"
    header = "filename,label,group,recordist,author\n"
    assert csv_of(tmp_path, header + rows).table["group"].tolist() == ["Ann", "Ben"]
    manifest = csv_of(tmp_path, header + rows, group_column="author")
    assert manifest.table["group"].tolist() == ["Al", "Bo"]
    with pytest.raises(DataError, match=r"no column 'session' \(dataset\.group_column\)"):
        csv_of(tmp_path, header + rows, group_column="session")


def test_without_a_group_column_each_recording_is_a_group_and_the_leak_is_told(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    manifest = csv_of(tmp_path, "filename,label\na.wav,x\nb.wav,y\n")
    assert manifest.table["group"].tolist() == ["a.wav", "b.wav"]
    assert "scores come out too good" in manifest.notes[0]


def test_a_missing_group_stops_or_becomes_its_own_but_never_one_big_one(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav")
    text = "filename,label,group\na.wav,x,Ann\nb.wav,y,\nc.wav,x,nan\nd.wav,y,Ann\n"
    manifest = csv_of(tmp_path, text)
    assert list(reasons(manifest)) == ["b.wav", "c.wav"]
    assert all(problem.blocking for problem in manifest.problems)
    manifest = csv_of(tmp_path, text, group_missing=OnBad.skip)
    assert manifest.table["group"].tolist() == ["Ann", "b.wav", "c.wav", "Ann"]
    assert "2 recordings" in manifest.notes[0]


def test_a_table_of_which_no_file_exists_asks_for_the_right_folder(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"None of the 2 recordings.*dataset\.root or dataset\.audio"
    ):
        csv_of(tmp_path, "filename,label\na.wav,x\nb.wav,y\n")
    with pytest.raises(DataError, match=r"No row of metadata\.csv can be used"):
        csv_of(tmp_path, "filename,label\n../a.wav,x\n,y\n")


def test_missing_folders_and_tables_say_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "birds.csv", "file")
    with pytest.raises(DataError, match=r"No table .*There is birds\.csv\. Set dataset\.table"):
        load_manifest("csv", name="csv", root=tmp_path, table="metadata.csv")
    with pytest.raises(DataError, match=r"does not exist; there is"):
        load_manifest("csv", name="csv", root=tmp_path / "no" / "such", table="m.csv")
    with pytest.raises(DataError, match="is a file"):
        load_manifest("csv", name="csv", root=tmp_path / "file", table="m.csv")
    with pytest.raises(ConfigError, match=r"needs dataset\.root"):
        load_manifest("csv", name="csv", table="m.csv")
    with pytest.raises(ConfigError, match="unknown"):
        load_manifest("hdf5", name="x")


def test_limit_keeps_the_same_few_of_each_class_in_any_row_order(tmp_path: Path) -> None:
    names = [f"{label}{index}.wav" for label in "xy" for index in range(9)]
    touch(tmp_path, *names)
    rows = [f"{name},{name[0]},g\n" for name in names]
    kept = csv_of(tmp_path, "filename,label,group\n" + "".join(rows), limit=3)
    again = csv_of(tmp_path, "filename,label,group\n" + "".join(rows[::-1]), limit=3)
    assert sorted(kept.table["recording"]) == sorted(again.table["recording"])
    assert kept.table["label"].value_counts().to_dict() == {"x": 3, "y": 3}
    assert "keeps 6 of 18" in kept.notes[0]


def test_birdclef_as_unpacked_from_kaggle(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "train_audio/amerob/XC1.ogg",
        "train_audio/houspa/XC2.ogg",
        "train_audio/owl/XC3.ogg",
    )
    (tmp_path / "train_metadata.csv").write_text(
        "primary_label,secondary_labels,author,filename,rating\n"
        "amerob,\"['houspa', 'zzz', 'amerob']\",Ann,amerob/XC1.ogg,4.5\n"
        "houspa,[],,houspa/XC2.ogg,3\n"
        "owl,\"['houspa', 'amerob']\",Ben,owl/XC3.ogg,5\n"
    )
    manifest = load_manifest(root=tmp_path, **preset("birdclef"))
    assert manifest.classes == ("amerob", "houspa", "owl")
    assert manifest.table["secondary"].tolist() == ["houspa", "", "amerob;houspa"]
    assert manifest.table["group"].tolist() == ["Ann", "train_audio/houspa/XC2.ogg", "Ben"]
    assert any("zzz" in note for note in manifest.notes)


def test_esc50_as_cloned_has_its_official_folds(tmp_path: Path) -> None:
    names = [f"{fold}-{source}-A-0.wav" for fold in range(1, 6) for source in (100, 101)]
    touch(tmp_path, *(f"audio/{name}" for name in names))
    rows = [f"{n},{n[0]},0,{('dog', 'rain')[i % 2]},True,{n[:5]},A" for i, n in enumerate(names)]
    header = "filename,fold,target,category,esc10,src_file,take"
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join([header, *rows]))
    manifest = load_manifest(root=tmp_path, **preset("esc50"))
    assert manifest.classes == ("dog", "rain")
    assert manifest.table["fold"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert manifest.table["group"].nunique() == 10


def preset(name: str) -> dict[str, Any]:
    """Return the arguments that a dataset group of conf/ stands for."""
    return {str(key): value for key, value in OmegaConf.load(CONF / f"{name}.yaml").items()}


def test_a_folder_per_class_is_scanned_without_what_is_no_recording(tmp_path: Path) -> None:
    touch(
        tmp_path, "tody/a.wav", "tody/deep/er/B.MP3", "owl/c c.Flac", "owl/._c c.Flac", "owl/x.txt",
        "owl/.hidden.wav", ".git/d.wav", "__MACOSX/owl/e.wav", "loose.ogg", "empty/readme.md",
        "owl/voice.M4A", "notes.csv",
    )  # fmt: skip
    manifest = load_manifest("folder", name="f", root=tmp_path)
    assert manifest.table["recording"].tolist() == [
        "owl/c c.Flac", "owl/voice.M4A", "tody/a.wav", "tody/deep/er/B.MP3",
    ]  # fmt: skip
    assert manifest.classes == ("owl", "tody")
    notes = " ".join(manifest.notes)
    assert "loose.ogg" in notes
    assert "empty" in notes
    assert "scores come out too good" in notes


def test_a_folder_takes_groups_from_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "tody/a.wav", "tody/1.wav", "owl/b.wav", "owl/1.wav")
    (tmp_path / "groups.csv").write_text(
        "filename,group\ntody\\a.wav,Ann\nb.wav,Ben\n1.wav,Cyd\nowl/1.wav,Dan\n"
    )
    manifest = load_manifest("folder", name="f", root=tmp_path, table="groups.csv")
    assert dict(zip(manifest.table["recording"], manifest.table["group"], strict=True)) == {
        "tody/a.wav": "Ann", "owl/b.wav": "Ben", "owl/1.wav": "Dan",
    }  # fmt: skip
    # 1.wav could be either of two, so that it is nobody's
    assert list(reasons(manifest)) == ["tody/1.wav"]
    assert any("Not in groups.csv: 1 recording" in note for note in manifest.notes)


def test_a_folder_without_class_folders_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs one folder per class.*There is no recording"):
        load_manifest("folder", name="f", root=tmp_path)
    touch(tmp_path, "a.wav", "b.wav")
    with pytest.raises(DataError, match=r"2 recordings lie directly in .*dataset=csv"):
        load_manifest("folder", name="f", root=tmp_path)


def test_a_ring_of_links_ends(tmp_path: Path) -> None:
    touch(tmp_path, "tody/a.wav", "owl/b.wav")
    (tmp_path / "owl" / "up").symlink_to(tmp_path)
    manifest = load_manifest("folder", name="f", root=tmp_path)
    assert manifest.table["recording"].tolist() == ["owl/b.wav", "tody/a.wav"]


def test_a_name_that_is_no_text_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    touch(tmp_path, "tody/a.wav", "owl/b.wav", os.fsdecode(b"owl/caf\xe9.wav"))
    manifest = load_manifest("folder", name="f", root=tmp_path)
    ((name, reason),) = reasons(manifest).items()
    assert "not valid UTF-8" in reason
    name.encode()


def test_the_field_recordings_are_found_by_table_and_by_folder(shared_data: Path) -> None:
    root = shared_data / "puerto-rico-birds"
    core = load_manifest("csv", name="pr", root=root, table="metadata.csv", filter="core == 1")
    assert (len(core), len(core.classes), core.table["group"].nunique()) == (185, 13, 24)
    assert core.notes == core.problems == ()
    folder = load_manifest(
        "folder", name="pr", root=root, audio_dir="audio", table="metadata.csv"
    )  # fmt: skip
    assert (len(folder), len(folder.classes)) == (203, 14)
    table = core.table.set_index("recording")["group"]
    assert folder.table.set_index("recording")["group"][table.index].equals(table)
    assert scan(core.path(0)).sample_rate_hz == 32000
