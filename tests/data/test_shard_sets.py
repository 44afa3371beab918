"""A set of shards is the recordings it was written from, for all that training asks of them."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from chirpid.audio.frontend import FrontEnd
from chirpid.data.check import Checked
from chirpid.data.modes import store_key
from chirpid.data.rows import RowMaker
from chirpid.data.segments import SegmentTable, TextTable
from chirpid.data.sources.shards import (
    ShardRows,
    ShardSet,
    open_shard_set,
    shuffled,
    spec_of,
    write_shard_set,
)
from chirpid.errors import StorageError
from chirpid.storage.remote import LocalPlace
from chirpid.storage.shards import shard_path
from chirpid.types import Mode, StoreDtype
from tests.storage.builder import flip_byte
from tests.workbench import FRONTEND, KINDS, RULE, dataset_of, maker_of


def write(
    folder: Path, made: tuple[Checked, SegmentTable], maker: RowMaker | None = None, **settings
) -> int:
    checked, segments = made
    maker = maker or maker_of(segments)
    rule = {f"segment.{f.name}": getattr(RULE, f.name) for f in fields(RULE)}
    return write_shard_set(
        LocalPlace(folder), maker, checked, {**rule, **settings}, shard_segments=7,
        rows_key=store_key(maker, dict(FRONTEND)), num_threads=2,
    )  # fmt: skip


def rows_of(found: ShardSet) -> ShardRows:
    spec = spec_of(found)
    frontend = FrontEnd(**FRONTEND)
    return ShardRows(
        found, frontend, keep=spec.keep, dtype=spec.dtype, files=lambda: found.local_files()
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same_table(a: SegmentTable, b: SegmentTable) -> bool:
    def plain(value: object) -> object:
        if isinstance(value, TextTable):
            return [value[i] for i in range(len(value))]
        return value.tolist() if isinstance(value, np.ndarray) else value

    names = [f.name for f in fields(a) if f.name != "root"]
    return all(plain(getattr(a, name)) == plain(getattr(b, name)) for name in names)


@pytest.mark.parametrize(("keep", "dtype"), KINDS)
def test_rows_and_tables_come_back_as_they_were(made, tmp_path: Path, keep, dtype) -> None:
    maker = maker_of(made[1], keep=keep, dtype=dtype)
    write(tmp_path / "set", made, maker)
    found = open_shard_set(LocalPlace(tmp_path / "set"))
    assert same_table(found.segments, made[1])
    assert spec_of(found) == maker.spec
    again, before = found.checked.manifest, made[0].manifest
    assert again.classes == before.classes
    columns = list(before.table.columns)
    assert (
        again.table.sort_values("recording")[columns].values.tolist()
        == before.table.sort_values("recording")[columns].values.tolist()
    )
    rows = rows_of(found)
    one, other = (
        torch.empty((len(made[1]), *maker.spec.shape), dtype=maker.spec.torch_dtype)
        for _ in range(2)
    )
    maker.make_range(0, len(one), one)
    rows.make_range(0, len(one), other)
    assert torch.equal(one, other)
    rows.make_range(5, 16, other[5:16])
    assert torch.equal(one, other)
    rows.close()


def test_shards_give_the_store_key_of_the_recordings(made, tmp_path: Path) -> None:
    write(tmp_path / "set", made)
    rows = rows_of(open_shard_set(LocalPlace(tmp_path / "set")))
    assert store_key(rows, dict(FRONTEND)) == store_key(maker_of(made[1]), dict(FRONTEND))


@pytest.mark.parametrize("mode", [Mode.cached, Mode.eager])
def test_modes_that_keep_rows_take_them_from_shards(made, tmp_path: Path, mode: Mode) -> None:
    write(tmp_path / "set", made)
    rows = rows_of(open_shard_set(LocalPlace(tmp_path / "set")))
    kept = dataset_of(mode, rows, tmp_path / "a")
    wanted = dataset_of(mode, maker_of(made[1]), tmp_path / "b")
    ids = np.arange(len(wanted))
    assert torch.equal(kept.fetch(ids)[0], wanted.fetch(ids)[0])
    for one in (kept, wanted, rows):
        one.close()


def test_two_writings_have_the_same_bytes(made, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, made)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_what_is_there_is_kept_and_what_is_not_is_written(made, tmp_path: Path) -> None:
    """As after a kill: some shards, one cut short, no index."""
    whole = write(tmp_path / "a", made)
    wanted = content(tmp_path / "a")
    write(tmp_path / "b", made)
    for name in ("index.json", "segments.bin"):
        (tmp_path / "b" / name).unlink()
    shard_path(tmp_path / "b", 1).unlink()
    cut = shard_path(tmp_path / "b", 2)
    cut.write_bytes(cut.read_bytes()[:-3])
    with pytest.raises(StorageError, match=r"no whole set.*if it was stopped, run it again"):
        open_shard_set(LocalPlace(tmp_path / "b"))
    assert write(tmp_path / "b", made) == 2 < whole
    assert content(tmp_path / "b") == wanted
    assert write(tmp_path / "b", made) == 0


def test_another_set_is_not_overwritten(made, tmp_path: Path) -> None:
    write(tmp_path / "a", made)
    before = content(tmp_path / "a")
    other = maker_of(made[1], dtype=StoreDtype.float32)
    for change in ({"maker": other}, {"frontend.top_db": 3.0}):
        with pytest.raises(StorageError, match=r"holds another set of shards"):
            write(tmp_path / "a", made, **change)
    assert content(tmp_path / "a") == before


@pytest.mark.parametrize("name", ["index.json", "recordings.json", "segments.bin"])
def test_a_damaged_table_is_named(made, tmp_path: Path, name: str) -> None:
    write(tmp_path / "a", made)
    flip_byte(tmp_path / "a" / name, 90)
    with pytest.raises(StorageError, match=rf"{name} is .*damaged"):
        open_shard_set(LocalPlace(tmp_path / "a"))


def test_shuffled_segments_are_the_same_segments_in_another_order(made, tmp_path: Path) -> None:
    mixed = shuffled(made[1])
    assert sorted(mixed.key_N.tolist()) == sorted(made[1].key_N.tolist())
    assert mixed.key_N.tolist() != made[1].key_N.tolist()
    maker = maker_of(mixed)
    write(tmp_path / "a", made, maker)
    found = open_shard_set(LocalPlace(tmp_path / "a"))
    assert same_table(found.segments, mixed)
    where = {key: i for i, key in enumerate(made[1].key_N.tolist())}
    plain = dataset_of(Mode.eager, maker_of(made[1]), tmp_path / "c")
    rows = rows_of(found)
    out = torch.empty((len(mixed), *maker.spec.shape), dtype=torch.float16)
    rows.make_range(0, len(mixed), out)
    at = np.array([where[key] for key in mixed.key_N.tolist()])
    assert torch.equal(out.float(), plain.fetch(at)[0])
    rows.close()


def test_a_stream_of_a_set_can_be_pickled(made, tmp_path: Path) -> None:
    from chirpid.data.datasets import StreamingDataset

    write(tmp_path / "a", made)
    found = open_shard_set(LocalPlace(tmp_path / "a"))
    stream = StreamingDataset(spec_of(found), found.local_files(), found.layout, 2)
    again = pickle.loads(pickle.dumps(stream))
    ids = np.array([0, 9, 20, 3])
    assert torch.equal(again.fetch(ids)[0], stream.fetch(ids)[0])
    assert len(pickle.dumps(stream)) < 60_000
    for one in (again, stream):
        one.close()
