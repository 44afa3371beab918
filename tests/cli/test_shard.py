"""`chirpid shard` writes what trains elsewhere, to the bit: from a folder, the web and a bucket."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.line import OFF, TINY, Ended, call, leave_out_plots, run_folder, same_run, train
from tests.sounds import write_set
from tests.storage.builder import flip_byte
from tests.storage.servers import web_server

STREAM = ("mode.shard_segments=7", "mode.window_segments=14")
NET = "model.params.width=4"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("recordings") / "set")


@pytest.fixture(scope="module")
def shards(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "set"
    ended = write(root, out)
    assert ended.code == 0, ended.err
    assert "dataset=shards" in ended.out
    return out


@pytest.fixture(scope="module")
def straight(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the recordings."""
    outputs = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_plots(patch)
        ended = train(root, outputs, "mode=streaming", *STREAM)
    assert ended.code == 0, ended.err
    return run_folder(outputs)


def write(root: Path, out: Path | str, *more: str) -> Ended:
    cache = f"paths.outputs={root.parent / 'outputs'}"
    return call("shard", str(out), *TINY, f"dataset.root={root}", cache, *STREAM, *more)


def train_on(address: Path | str, outputs: Path, *more: str) -> Ended:
    return call("train", *TINY[1:], "dataset=shards", OFF, NET, f"dataset.root={address}",
                f"paths.outputs={outputs}", *STREAM, *more)  # fmt: skip


@pytest.mark.usefixtures("_no_plots")
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("mode=cached",),
        ("mode=eager", "loader.backend=threads"),
        ("loader.backend=processes", "loader.num_workers=1"),
    ],
)
def test_shards_give_the_run_of_the_recordings(
    shards: Path, straight: Path, root: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    moved = shutil.copytree(shards, tmp_path / "elsewhere")
    ended = train_on(moved, tmp_path / "out", *more)
    assert ended.code == 0, ended.err
    assert same_run(straight, run_folder(tmp_path / "out"))


@pytest.mark.usefixtures("_no_plots")
def test_shards_on_the_web_give_the_run_of_the_recordings(
    shards: Path, straight: Path, tmp_path: Path
) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    with web_server(shards.parent) as server:
        ended = train_on(f"{server.url}/set", tmp_path)
        assert ended.code == 0, ended.err
        assert same_run(straight, run_folder(tmp_path))
        asked = [name for name in server.asked if name.startswith("shard-")]
        assert len(asked) == len(set(asked)), "each shard is brought once for all folds and epochs"


def test_other_settings_are_named_with_those_to_take(shards: Path, tmp_path: Path) -> None:
    ended = train_on(shards, tmp_path, "frontend.num_mels=20", "segment.hop_s=0.5")
    assert ended.code == 2
    assert "frontend.num_mels is 24 there, 20 here" in ended.line
    assert "Add frontend.num_mels=24 segment.hop_s=null, or" in ended.line
    assert not (tmp_path / "runs").exists()


def test_a_web_server_is_refused_before_anything_is_decoded(root: Path) -> None:
    ended = write(root, "http://127.0.0.1:9/set")
    assert ended.code == 2
    assert "can be read and not written" in ended.line
    assert "segments" not in ended.out


def test_a_place_without_a_set_is_one_line(tmp_path: Path) -> None:
    ended = train_on(tmp_path / "nothing", tmp_path)
    assert "no whole set of shards" in ended.line
    assert train_on("ftps+x://host/set", tmp_path).code == 2


@pytest.mark.usefixtures("_no_plots")
def test_a_damaged_shard_stops_the_run_and_is_named(shards: Path, tmp_path: Path) -> None:
    bad = shutil.copytree(shards, tmp_path / "bad")
    flip_byte(bad / "shard-00002.bin", 500)
    ended = train_on(bad, tmp_path / "out")
    assert ended.code == 1
    assert ended.line.startswith(f"storage error: {bad}/shard-00002.bin is damaged at segment 14. "
                                 "It holds segments 14 to 20.")  # fmt: skip


def test_what_is_there_is_kept_and_other_settings_are_refused(
    root: Path, shards: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(shards, tmp_path / "set")
    (out / "index.json").unlink()
    (out / "shard-00001.bin").unlink()
    ended = write(root, out)
    assert "1 shards written" in ended.out
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {
        p.name: p.read_bytes() for p in shards.iterdir()
    }
    assert "holds another set" in write(root, out, "frontend.top_db=80").line


def test_a_set_can_be_copied_with_its_place_alone(root: Path, shards: Path, tmp_path: Path) -> None:
    ended = call("shard", str(tmp_path / "copy"), *TINY[1:], "dataset=shards",
                 f"dataset.root={shards}", f"paths.outputs={tmp_path}", *STREAM)  # fmt: skip
    assert ended.code == 0, ended.err
    for path in shards.glob("shard-*"):
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()
    refused = call("shard", str(tmp_path / "mixed"), "--order=segments", *TINY[1:],
                   "dataset=shards", f"dataset.root={shards}", *STREAM)  # fmt: skip
    assert "needs recordings" in refused.line


@pytest.mark.usefixtures("_no_plots")
def test_segments_in_random_order_have_the_same_folds(
    root: Path, straight: Path, tmp_path: Path
) -> None:
    assert write(root, tmp_path / "set", "--order", "segments").code == 0
    ended = train_on(tmp_path / "set", tmp_path / "out", "engine.epochs=1")
    assert ended.code == 0, ended.err
    found, wanted = (
        sorted((f / "splits.csv").read_text().splitlines())
        for f in (run_folder(tmp_path / "out"), straight)
    )
    assert found == wanted


def test_nothing_in_a_set_tells_of_this_machine(shards: Path, root: Path) -> None:
    for path in shards.iterdir():
        assert str(root).encode() not in path.read_bytes()
    about = json.loads((shards / "index.json").read_text())["about"]
    assert about["num_recordings"] == 12
