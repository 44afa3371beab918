"""`chirpid cache` shows, checks and removes what is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chirpid.cli.cache import main
from chirpid.cli.main import main as chirpid
from chirpid.storage import rowstore, shards
from chirpid.storage.caches import cache_folder, hold, list_caches
from chirpid.storage.locks import FileLock
from tests.storage.builder import LAYOUT, expected, fill, flip_byte

ABOUT = {"dataset": "wrens", "segments": 149, "keep": "spectrogram", "shape": [33, 7],
         "dtype": "float16",
         "error": {"dtype": "float16", "unit": "dB", "num_rows": 19, "worst": 0.03, "rms": 0.01,
                   "clipped": 0.0}}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Caches `aaa` of rows and `bbb` of shards, the latter used last."""
    root = tmp_path / "outputs" / "cache"
    rows, stream = cache_folder(root, "rows", "aaa"), cache_folder(root, "shards", "bbb")
    rowstore.build(rows, LAYOUT, fill, about=ABOUT, num_threads=1)
    shards.write_shards(stream, LAYOUT, fill, about=ABOUT, num_threads=1)
    for folder, used_at in ((rows, 1_000_000_000), (stream, 1_700_000_000)):
        hold(folder).close()
        os.utime(folder / "use.lock", (used_at, used_at))
    return root


def test_the_list_tells_kind_dataset_size_use_and_state(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "rows" / "aaa" / "meta.json").unlink()
    assert chirpid(["cache", "list", "--cache", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("aaa")
    assert "not whole" in lines[1]
    assert "2001-09-" in lines[1]
    for word in (
        "bbb",
        "shards",
        "wrens",
        "0.03 dB",
        "149 spectrogram 33×7 float16",
        "2023-11-",
        " whole",
    ):
        assert word in lines[2]
    assert lines[3].startswith("2 caches")


def test_sound_caches_are_said_to_be_sound(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--outputs", str(root.parent)]) == 0
    rows, stream = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"rows/aaa: sound, 15 chunks, 0\.1 MiB at [\d.]+ [MG]iB/s", rows)
    assert re.fullmatch(r"shards/bbb: sound, 15 shards, 0\.1 MiB at [\d.]+ [MG]iB/s", stream)


def test_damage_is_named_left_unless_asked_and_mended_by_the_next_run(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, stream = root / "rows" / "aaa", root / "shards" / "bbb"
    flip_byte(rows / "rows.bin", 25 * LAYOUT.row_bytes)
    flip_byte(shards.shard_path(stream, 14), 100)
    assert main(["verify", "--cache", str(root)]) == 1
    said = capsys.readouterr().out
    assert "rows/aaa: damaged chunks: 2 (segments 20-29)" in said
    assert "shards/bbb: damaged shards: 14 (segments 140-148)" in said
    assert all(entry.complete for entry in list_caches(root)), "nothing is changed unasked"
    assert main(["verify", "--cache", str(root), "--forget", "aa", "bb"]) == 0
    assert not any(entry.complete for entry in list_caches(root))
    rowstore.build(rows, LAYOUT, fill, about=ABOUT, num_threads=1)
    shards.write_shards(stream, LAYOUT, fill, about=ABOUT, num_threads=1)
    assert torch.equal(rowstore.open_rows(rows, LAYOUT), expected())
    assert main(["verify", "--cache", str(root)]) == 0


def test_pruning_removes_the_least_recently_used_and_spares_what_is_in_use(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_gib = max(entry.num_bytes for entry in list_caches(root)) / 2**30
    assert main(["prune", "--cache", str(root), "--keep-gib", str(one_gib * 1.01)]) == 0
    assert [entry.path.name for entry in list_caches(root)] == ["bbb"]
    used = hold(root / "shards" / "bbb")
    assert main(["prune", "--cache", str(root), "--all"]) == 0
    assert "kept shards/bbb: a process uses it" in capsys.readouterr().out
    used.close()
    assert main(["prune", "--cache", str(root), "--all"]) == 0
    assert list_caches(root) == []


def test_names_and_age_choose_what_goes_and_a_dry_run_removes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--cache", str(root)]
    os.utime(root / "shards" / "bbb" / "use.lock")
    for choice in (["aa"], ["--older-than", "2w"], ["--older-than", "24h"], ["aaa"]):
        assert main(["prune", *where, "--dry-run", *choice]) == 0
        first, last = capsys.readouterr().out.splitlines()
        assert first.startswith("would remove rows/aaa, 0.1 MiB, last used 2001-09-")
        assert last.startswith("1 cache would be removed, 0.1 MiB would be freed in ")
    assert main(["prune", *where, "--dry-run", "--all"]) == 0
    assert len(list_caches(root)) == 2
    assert main(["prune", *where, "--older-than", "9999w"]) == 0
    assert len(list_caches(root)) == 2
    assert main(["prune", *where, "--older-than", "1d"]) == 0
    assert [entry.path.name for entry in list_caches(root)] == ["bbb"]
    assert main(["prune", *where, "b"]) == 0
    assert list_caches(root) == []


def test_a_dry_run_tells_what_a_process_uses(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = hold(root / "shards" / "bbb")
    making = FileLock(root / "rows" / "aaa" / "build.lock")
    making.acquire()
    assert main(["prune", "--cache", str(root), "--all", "--dry-run"]) == 0
    assert capsys.readouterr().out.count("a process uses it") == 2
    assert main(["list", "--cache", str(root)]) == 0
    assert capsys.readouterr().out.count("whole, in use") == 2
    used.close()
    making.close()
    assert main(["list", "--cache", str(root)]) == 0
    assert "in use" not in capsys.readouterr().out


@pytest.mark.parametrize("action", ["verify", "prune"])
def test_a_name_that_is_none_is_told_with_the_nearest(
    root: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    assert main([action, "aa", "aaab", "--cache", str(root)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"data error: No cache 'aaab' in {root}. Did you mean 'aaa'?")
    assert len(list_caches(root)) == 2


def test_scripts_get_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--json", "--cache", str(root)]
    assert main(["list", *where]) == 0
    rows, stream = json.loads(capsys.readouterr().out)
    assert (rows["name"], rows["kind"], rows["dataset"]) == ("aaa", "rows", "wrens")
    assert (rows["dtype"], rows["error"]["worst"], rows["complete"]) == ("float16", 0.03, True)
    assert rows["last_used"].startswith("2001-09-")
    assert stream["num_bytes"] == list_caches(root)[1].num_bytes
    flip_byte(shards.shard_path(root / "shards" / "bbb", 14), 100)
    assert main(["verify", *where]) == 1
    rows, stream = json.loads(capsys.readouterr().out)
    assert (rows["state"], rows["damaged"]) == ("sound", [])
    assert (stream["state"], stream["damaged"]) == ("damaged", [14])
    assert main(["prune", "aaa", "--dry-run", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["removed"], told["in_use"], told["dry_run"]) == (["aaa"], [], True)
    assert main(["list", "--json", "--cache", str(root / "none")]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_place_without_caches_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "--cache", str(tmp_path / "none")]) == 0
    assert main(["prune", "--all", "--cache", str(tmp_path / "none")]) == 0
    assert main(["verify", "--cache", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("data error: No caches in ")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["prune"],
        ["prune", "--all", "--keep-gib", "3"],
        ["burn"],
        ["prune", "a", "--all"],
        ["prune", "--older-than", "30"],
        ["prune", "--older-than", "soon"],
    ],
)
def test_what_cannot_be_understood_ends_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2


def test_listing_does_not_wait_for_torch() -> None:
    code = "import chirpid.cli.cache, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
