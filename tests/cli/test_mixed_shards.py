"""Several sets of shards in one training, by weight: whole folds, wanted shares, exact resume."""

from __future__ import annotations

import csv
import io
import itertools
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from chirpid.cli.prepare import prepare
from chirpid.config.store import compose
from chirpid.engine.rule import TrainEpoch
from chirpid.storage.caches import list_caches
from chirpid.types import IntArray
from tests.cli.test_shard import NET, STREAM, write
from tests.e2e.line import OFF, TINY, Ended, call, leave_out_plots, run_folder, same_run
from tests.sounds import write_set
from tests.storage.servers import web_server

WEIGHTS = (0.7, 0.3)
DRAWS = 50


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two sets: four people in the woods, and the same and a fifth at the shore."""
    place = tmp_path_factory.mktemp("sets")
    for name, groups in (("woods", 4), ("shore", 5)):
        root = write_set(place / "recordings" / name, groups=groups)
        ended = write(root, place / name)
        assert ended.code == 0, ended.err
    return [place / "woods", place / "shore"]


@pytest.fixture(scope="module")
def straight(sets: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    outputs = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_plots(patch)
        ended = train_on(sets, outputs)
    assert ended.code == 0, ended.err
    return run_folder(outputs)


def settings(sets: list[Path] | list[str], outputs: Path, *more: str) -> list[str]:
    mix = ", ".join(f"{path}: {weight}" for path, weight in zip(sets, WEIGHTS, strict=True))
    return [*TINY[1:], "dataset=shards", OFF, NET, f"dataset.mix={{{mix}}}", *STREAM,
            f"paths.outputs={outputs}", f"loader.epoch_segments={DRAWS}", *more]  # fmt: skip


def train_on(sets: list[Path] | list[str], outputs: Path, *more: str) -> Ended:
    return call("train", *settings(sets, outputs, *more))


@pytest.mark.usefixtures("_no_plots")
@pytest.mark.parametrize(
    "more",
    [
        ("mode=cached",),
        ("mode=eager", "loader.backend=inline"),
        ("loader.backend=processes", "loader.num_workers=1"),
    ],
)
def test_a_mixture_trains_alike_in_every_mode(
    sets: list[Path], straight: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    ended = train_on(sets, tmp_path, *more)
    assert ended.code == 0, ended.err
    assert same_run(straight, run_folder(tmp_path))


@pytest.mark.usefixtures("_no_plots")
def test_sets_on_the_web_are_mixed_as_those_in_a_folder(
    sets: list[Path], straight: Path, tmp_path: Path
) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    with web_server(sets[0].parent) as server:
        ended = train_on([f"{server.url}/{path.name}" for path in sets], tmp_path)
        assert ended.code == 0, ended.err
        assert same_run(straight, run_folder(tmp_path))
        asked = [name for name in server.asked if "shard-" in name]
        assert len(asked) == sum(len(list(path.glob("shard-*"))) for path in sets)
    assert len(list_caches(tmp_path / "cache")) == 2


@pytest.mark.usefixtures("_no_plots")
def test_sets_share_the_disk_that_holds_not_all_of_them(sets: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    files = [sorted(path.glob("shard-*")) for path in sets]
    size = files[0][0].stat().st_size
    assert [len(found) for found in files] == [6, 7]
    small = ("mode.window_segments=7", "engine.epochs=1")  # four shards each, with what comes
    halves = "dataset.mix={{{}: 1, {}: 1}}"
    ended = train_on(sets, tmp_path / "here", halves.format(*sets), *small)
    assert ended.code == 0, ended.err
    with web_server(sets[0].parent) as server:
        mix = halves.format(*(f"{server.url}/{path.name}" for path in sets))
        gib = 12.5 * size / 2**30
        ended = train_on(sets, tmp_path / "web", mix, *small, f"mode.cache_gib={gib}")
        assert ended.code == 0, ended.err
        assert same_run(run_folder(tmp_path / "here"), run_folder(tmp_path / "web"))
        planned = [one.planned_bytes for one in list_caches(tmp_path / "web" / "cache")]
        assert len(planned) == 2
        assert sum(planned) <= 12.5 * size
        ended = train_on(sets, tmp_path / "tight", mix, *small, f"mode.cache_gib={gib / 2}")
        assert "for this set. Raise it, or lower mode.window_segments" in ended.line
        assert not (tmp_path / "tight" / "runs").exists()


def test_folds_are_whole_over_all_sets(straight: Path) -> None:
    with open(straight / "splits.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["recording"].split("/")[0] for row in rows} == {"woods", "shore"}
    fold_of: dict[str, set[str]] = {}
    for row in rows:
        fold_of.setdefault(row["group"], set()).add(row["fold"])
    assert len(fold_of) == 5
    assert all(len(folds) == 1 for folds in fold_of.values()), "a person is on one side of a split"


def test_each_set_has_its_share_of_the_draws(sets: list[Path], tmp_path: Path) -> None:
    config = compose(settings(sets, tmp_path)).config
    prepared = prepare(config, Console(file=io.StringIO()))
    assert prepared.mix is not None
    first_of_shore = prepared.mix.starts[1]
    for fold in (0, 1):
        train = prepared.folds.train_ids(fold)
        for epoch in (0, 1):
            batches = prepared.rule.train_epoch(train, prepared.task.key_N, epoch).batches
            ids = np.concatenate(batches)
            assert len(ids) == DRAWS
            assert set(ids.tolist()) <= set(train.tolist())
            assert abs(int((ids < first_of_shore).sum()) - 0.7 * DRAWS) <= 2


def stop_in_batch(patch: pytest.MonkeyPatch, number: int) -> None:
    """Press Ctrl-C while a batch is in work, counted over all epochs."""
    done, whole = itertools.count(1), TrainEpoch.repeat_of

    def repeat_of(epoch: TrainEpoch, batch: int) -> IntArray | None:
        if next(done) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(epoch, batch)

    patch.setattr(TrainEpoch, "repeat_of", repeat_of)


@pytest.mark.usefixtures("_no_plots")
def test_a_mixed_run_that_was_stopped_ends_with_the_same_bits(
    sets: list[Path], straight: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_in_batch(patch, 7)
        ended = train_on(sets, tmp_path)
    assert ended.code == 130, ended.err
    moved = [Path(shutil.copytree(path, tmp_path / "moved" / path.name)) for path in sets]
    ended = train_on(moved, tmp_path, "resume=auto")
    assert ended.code == 0, ended.err
    assert "going on in" in ended.out
    assert same_run(straight, run_folder(tmp_path))


def test_sets_of_different_front_ends_are_named_both(sets: list[Path], tmp_path: Path) -> None:
    root = sets[0].parent / "recordings" / "woods"
    assert write(root, tmp_path / "other", "frontend.num_mels=20").code == 0
    ended = train_on([sets[0], tmp_path / "other"], tmp_path)
    assert ended.code == 2
    assert f"The shards at {sets[0]} and {tmp_path / 'other'} were made with" in ended.line
    assert "frontend.num_mels is 24 and 20" in ended.line
    both = train_on(sets, tmp_path, "frontend.num_mels=20")
    assert f"The shards at {sets[0]} were made with other settings" in both.line
    assert not (tmp_path / "runs").exists()


def test_a_set_is_mixed_with_others_and_not_with_itself(sets: list[Path], tmp_path: Path) -> None:
    copy = shutil.copytree(sets[0], tmp_path / "copy")
    ended = train_on([sets[0], copy], tmp_path)
    assert ended.code == 2
    assert f"names one set twice: {sets[0]} and {copy}" in ended.line


def test_a_fold_that_lacks_a_set_is_told_before_anything_is_written(
    sets: list[Path], tmp_path: Path
) -> None:
    lone = write_set(tmp_path / "recordings", groups=1)
    assert write(lone, tmp_path / "lone").code == 0
    ended = train_on([sets[1], tmp_path / "lone"], tmp_path)
    assert "The set 'lone' has no segment to train on here" in ended.line
    assert not (tmp_path / "runs").exists()


def test_a_mixture_is_not_copied_to_one_set(sets: list[Path], tmp_path: Path) -> None:
    ended = call("shard", str(tmp_path / "out"), *settings(sets, tmp_path))
    assert ended.code == 2
    assert "chirpid shard writes one" in ended.line
    assert not (tmp_path / "out").exists()
