"""Rows of HDF5 files come as they were written, however they lie there, and damage is named."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.data.general.block_sampler import BlockSampler
from chirpid.data.hdf5.dataset import HDF5Dataset
from chirpid.data.order import OrderRule
from chirpid.data.samplers import ShuffledSampler
from chirpid.errors import BudgetError, ConfigError, DataError
from chirpid.types import Mode, Order
from tests.examples import examples

pytest.importorskip("h5py")

from tests.data.general.h5_files import (
    IDS,
    NUM_ROWS,
    PACKED,
    arrays,
    batch_of,
    flip_in_chunk,
    h5py,
    same,
    write,
)  # fmt: skip

LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunks": {"chunks": (16, 5, 3)},
    "one row a chunk": {"chunks": (1, 5, 3), "compression": "gzip"},
    "parts of rows": {"chunks": (7, 2, 3), "compression": "lzf"},
    "gzip": PACKED,
    "gzip after shuffle": {**PACKED, "shuffle": True},
    "fletcher32": {**PACKED, "fletcher32": True},
    "larger than the table": {"chunks": (128, 5, 3), "maxshape": (None, 5, 3), "shuffle": True,
                              "compression": "gzip"},
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYOUTS)
def test_rows_come_as_they_were_written(tmp_path: Path, kind: str) -> None:
    dataset = HDF5Dataset(write(tmp_path / "a.h5", **LAYOUTS[kind]))
    assert len(dataset) == NUM_ROWS
    for ids in (IDS, np.arange(NUM_ROWS), np.array([3, 3, 99, 0, 3]), np.arange(16, 32),
                np.array([], np.int64)):  # fmt: skip
        assert same(batch_of(dataset, ids), ids), ids
    assert dataset.check() == []


@pytest.mark.parametrize("mode", Mode)
def test_rows_are_the_same_in_every_mode(tmp_path: Path, mode: Mode) -> None:
    path = write(tmp_path / "a.h5", **PACKED)
    dataset = HDF5Dataset(path, mode=mode, cache_root=tmp_path / "cache")
    assert dataset.mode is mode
    assert same(batch_of(dataset, IDS), IDS)
    assert same(dataset[10:40], np.arange(10, 40))
    sample = dataset[-1]
    assert np.array_equal(sample["images"], arrays()["images"][-1])
    assert sample["labels"] == NUM_ROWS - 1
    assert sample["labels"].dtype is torch.int64
    again = pickle.loads(pickle.dumps(dataset))
    assert same(batch_of(again, IDS), IDS)
    dataset.close()


@settings(max_examples=examples(20), deadline=None)
@given(
    dtype=st.sampled_from(["u1", "i2", "<i4", ">i4", "i8", "f2", ">f4", "f8", "?", "c8"]),
    shape=st.lists(st.integers(0, 4), max_size=2),
    num_rows=st.integers(1, 30),
    chunk_rows=st.integers(0, 12),
    packed=st.sampled_from([{}, {"compression": "gzip"}, {"compression": "lzf", "shuffle": True}]),
    data=st.data(),
)
def test_any_table_of_numbers_is_read_as_h5py_reads_it(
    tmp_path_factory: pytest.TempPathFactory, dtype, shape, num_rows, chunk_rows, packed, data
) -> None:
    count = num_rows * int(np.prod(shape, dtype=int))
    table = (np.random.default_rng(count).random(count) * 200).astype(dtype)
    table = table.reshape(num_rows, *shape)
    stored = {"chunks": (min(chunk_rows, num_rows), *(max(1, s) for s in shape)), **packed}
    if not chunk_rows or not count:
        stored = {}
    path = write(tmp_path_factory.mktemp("h5") / "a.h5", {"images": table}, **stored)
    ids = np.array(data.draw(st.lists(st.integers(0, num_rows - 1), max_size=20)), np.int64)
    read = batch_of(HDF5Dataset(path, "images"), ids).numpy()
    assert read.dtype == table.dtype.newbyteorder("=")
    assert np.array_equal(read, table[ids])


def test_fields_say_what_a_sample_is(tmp_path: Path) -> None:
    tables = {f"train/{name}": table for name, table in arrays().items()}
    path = write(tmp_path / "a.h5", tables)
    assert set(HDF5Dataset(path)[3]) == {"train/images", "train/labels"}
    named = HDF5Dataset(path, {"x": "/train/images", "y": "train/labels"})[3]
    assert list(named) == ["x", "y"]
    assert named["y"] == 3
    assert set(HDF5Dataset(path, ["/train/labels"])[3]) == {"train/labels"}
    image, label = HDF5Dataset(path, ("train/images", "train/labels"))[3]
    assert label == 3
    assert torch.equal(HDF5Dataset(path, "train/images")[3], image)


def test_rows_of_several_files_come_one_after_the_other(tmp_path: Path) -> None:
    parts = [arrays(30, seed=0), arrays(1, seed=1), arrays(45, seed=2)]
    for number, part in enumerate(parts):
        write(tmp_path / f"part-{number}.h5", part, **(PACKED if number != 1 else {}))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ids = np.random.default_rng(0).permutation(76)
    for given_ in (tmp_path / "part-*.h5", str(tmp_path / "part-?.h5"),
                   [tmp_path / f"part-{number}.h5" for number in range(3)]):  # fmt: skip
        dataset = HDF5Dataset(given_)
        assert len(dataset) == 76
        assert same(batch_of(dataset, ids), ids, whole)


def test_the_order_of_blocks_reads_each_chunk_once_in_an_epoch(tmp_path: Path) -> None:
    num_rows, images = 4000, {"chunks": (25, 5, 3), "compression": "gzip", "compression_opts": 1}
    path = write(tmp_path / "a.h5", arrays(num_rows), **images)
    num_chunks, chunk_bytes, reads = num_rows // 25, 25 * 5 * 3 * 2, {}
    for order in (Order.windowed, Order.shuffled):
        # The own blocks of the order are some chunks long, for the sake of disks; here one.
        rule = OrderRule(order, 3, block_segments=25, window_segments=25 * (num_chunks // 4))
        dataset = HDF5Dataset(path, "images", window_bytes=num_chunks // 4 * chunk_bytes)
        seen = [batch_of(dataset, ids) for ids in BlockSampler(num_rows, 64, rule).batches(0)]
        assert sum(map(len, seen)) == num_rows
        reads[order] = dataset.num_chunk_reads
    assert reads[Order.windowed] == num_chunks
    assert reads[Order.shuffled] > 10 * num_chunks


def test_the_own_order_fits_the_chunks_that_are_kept(tmp_path: Path) -> None:
    num_rows = 30_000
    path = write(tmp_path / "a.h5", arrays(num_rows), chunks=(100, 5, 3), compression="gzip")
    dataset = HDF5Dataset(path, ("images", "labels"), "streaming", window_bytes=600_000)
    sampler = dataset.sampler(256, seed=4)
    assert sampler.rule.is_windowed(num_rows)
    for ids in sampler.batches(1):
        batch_of(dataset, ids)
    assert dataset.num_chunk_reads == 300
    assert np.array_equal(np.sort(np.concatenate(sampler.batches(0))), np.arange(num_rows))
    whole = HDF5Dataset(path).sampler(256, seed=4)
    shuffled = ShuffledSampler(num_rows, 256, seed=4)
    assert all(map(np.array_equal, whole.batches(2), shuffled.batches(2)))


def test_a_damaged_chunk_is_named_or_left_out(tmp_path: Path) -> None:
    for number, kind in enumerate(("gzip", "gzip after shuffle", "fletcher32")):
        path = write(tmp_path / f"{number}.h5", **LAYOUTS[kind])
        flip_in_chunk(path, "images", 40)
        dataset = HDF5Dataset(path)
        (bad,) = dataset.check()
        assert (bad.path, bad.part, bad.first, bad.end) == (path, "images", 32, 48)
        assert same(batch_of(dataset, np.arange(32)), np.arange(32))
        with pytest.raises(DataError, match=r"\.h5, images: rows 32 to 47 \(.+on_bad='skip'"):
            dataset[40]
        left = HDF5Dataset(path, on_bad="skip")
        assert left.bad == [bad]
        good = np.delete(np.arange(NUM_ROWS), np.arange(32, 48))
        assert len(left) == len(good)
        assert same(left[:], good)
        assert left.fingerprint() != dataset.fingerprint()
        assert len(HDF5Dataset([path, path], on_bad="skip")) == 2 * len(good)


def test_a_file_that_was_cut_is_refused_or_left_out(tmp_path: Path) -> None:
    whole, cut = write(tmp_path / "whole.h5"), write(tmp_path / "cut.h5", **PACKED)
    os.truncate(cut, cut.stat().st_size // 2)
    with pytest.raises(DataError, match=r"cut\.h5 cannot be opened as an HDF5 file: .*truncated"):
        HDF5Dataset([whole, cut])
    left = HDF5Dataset([cut, whole], on_bad="skip")
    assert [bad.path for bad in left.bad] == [cut]
    assert same(left[:], np.arange(NUM_ROWS))
    with pytest.raises(DataError, match=r"No file can be read: .*cut\.h5"):
        HDF5Dataset(cut, on_bad="skip")


def test_what_makes_no_samples_is_one_clear_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["texts"] = ["a", "bc"]
        file["short"] = np.zeros(99)
        file["scalar"] = 3.0
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    other = write(tmp_path / "other.h5", {"images": np.zeros((4, 5, 4), np.int16)})
    for make, error, words in (
        (lambda: HDF5Dataset(tmp_path / "none.h5"), DataError, "There is no file"),
        (lambda: HDF5Dataset(tmp_path / "*.hdf"), DataError, "No file is named like"),
        (lambda: HDF5Dataset([]), DataError, "is empty"),
        (lambda: HDF5Dataset(text), DataError, "cannot be opened as an HDF5 file"),
        (lambda: HDF5Dataset(path, "image"), DataError, "Did you mean 'images'"),
        (lambda: HDF5Dataset(path, "scalar"), DataError, "no dataset with a row"),
        (lambda: HDF5Dataset(path, ["texts"]), DataError, "'texts' holds texts"),
        (lambda: HDF5Dataset(path, ["images", "short"]), DataError, "images 100, short 99"),
        (lambda: HDF5Dataset(path, {}), ConfigError, "names no datasets"),
        (lambda: HDF5Dataset(path, "images", "egaer"), ConfigError, "Did you mean 'eager'"),
        (lambda: HDF5Dataset([path, other], "images"), DataError, r"other\.h5 holds images int16"),
        (
            lambda: HDF5Dataset(path, "images", "eager", budget_bytes=9),
            BudgetError,
            "mode='cached'",
        ),
    ):
        with pytest.raises(error, match=words) as caught:
            make()
        assert "\n" not in str(caught.value)
    with pytest.raises(IndexError, match="100"):
        HDF5Dataset(path, "images")[100]


def test_without_h5py_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r'pip install "chirpid\[hdf5\]"'):
        HDF5Dataset("a.h5")


def test_a_cache_is_made_anew_when_a_file_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    old = HDF5Dataset(path, "labels", "cached", cache_root=tmp_path / "cache")
    changed = {"labels": np.arange(50) + 7}
    write(path, changed)
    new = HDF5Dataset(path, "labels", "cached", cache_root=tmp_path / "cache")
    assert len(new) == 50
    assert np.array_equal(new[:].numpy(), changed["labels"])
    assert np.array_equal(old[:].numpy(), arrays()["labels"])
