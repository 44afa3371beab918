"""Rows of HDF5 files come as they were written, however they lie there, and damage is named."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from chirpid.data.general.block_sampler import BlockSampler
from chirpid.data.hdf5.dataset import HDF5Dataset
from chirpid.data.order import OrderRule
from chirpid.data.samplers import ShuffledSampler
from chirpid.errors import BudgetError, ConfigError, DataError
from chirpid.types import Mode, Order
from tests.at_once import at_once
from tests.examples import examples

pytest.importorskip("h5py")

from tests.data.general.h5_files import NUM_ROWS, PACKED, arrays, flip_in_chunk, h5py, write

IDS = np.random.default_rng(1).permutation(NUM_ROWS)
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


def batch_of(dataset: Any, ids: np.ndarray) -> Any:
    batch = dataset.layout.empty(len(ids))
    dataset.read_into(ids, batch)
    return batch.tree()


def same(batch: Any, ids: np.ndarray, expected: dict[str, np.ndarray] | None = None) -> bool:
    expected = expected or arrays()
    names = ("images", "labels")
    return all(np.array_equal(batch[name].numpy(), expected[name][ids]) for name in names)


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


@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_worker_processes_read_the_same_rows(tmp_path: Path, start: str) -> None:
    dataset = HDF5Dataset(write(tmp_path / "a.h5", **{**PACKED, "fletcher32": True}))
    dataset[0]  # a file is open when the workers are forked
    context = multiprocessing.get_context(start)
    context.set_forkserver_preload([HDF5Dataset.__module__])  # imports torch once, not twice
    loader = DataLoader(dataset, batch_size=16, num_workers=2, multiprocessing_context=context)
    seen = list(loader)
    assert same({k: torch.cat([b[k] for b in seen]) for k in seen[0]}, np.arange(NUM_ROWS))
    assert same(batch_of(dataset, IDS), IDS)  # and the parent still reads


def test_a_fork_while_threads_read_does_not_hang(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", **{**PACKED, "fletcher32": True})
    dataset, done = HDF5Dataset(path, window_bytes=0), threading.Event()

    def read() -> None:
        while not done.is_set():
            batch_of(dataset, IDS)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # a child that hangs is a failure
                os._exit(0 if same(batch_of(dataset, IDS), IDS) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_threads_share_one_dataset(tmp_path: Path) -> None:
    dataset = HDF5Dataset(write(tmp_path / "a.h5", **PACKED), window_bytes=500)
    assert dataset.thread_safe
    good: list[bool] = []

    def read(seed: int) -> None:
        ids = np.random.default_rng(seed).integers(0, NUM_ROWS, 200)
        good.append(same(batch_of(dataset, ids), ids))

    at_once(read, 8)
    assert good == [True] * 8


def test_opening_again_and_again_leaks_no_file(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.h5", arrays(4)) for number in range(3)]
    packed = write(tmp_path / "packed.h5", **PACKED)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        for path in (paths, packed):
            dataset = HDF5Dataset(path)
            dataset[1]
            dataset.close()
    HDF5Dataset(packed)[1]  # and one that nobody closed
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_of_many_files_few_are_open_at_a_time(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / f"{number:02}.h5", arrays(2, seed=number), chunks=(1, 5, 3))
    dataset = HDF5Dataset(tmp_path / "*.h5", "images")
    before = len(os.listdir("/proc/self/fd"))
    ids = np.arange(80)
    expected = np.concatenate([arrays(2, seed=number)["images"] for number in range(40)])
    assert np.array_equal(batch_of(dataset, ids).numpy(), expected)
    assert len(os.listdir("/proc/self/fd")) - before <= 16


def test_a_cache_is_made_anew_when_a_file_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    old = HDF5Dataset(path, "labels", "cached", cache_root=tmp_path / "cache")
    changed = {"labels": np.arange(50) + 7}
    write(path, changed)
    new = HDF5Dataset(path, "labels", "cached", cache_root=tmp_path / "cache")
    assert len(new) == 50
    assert np.array_equal(new[:].numpy(), changed["labels"])
    assert np.array_equal(old[:].numpy(), arrays()["labels"])
