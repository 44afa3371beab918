"""Stores give samples back bit for bit, are whole or refused, and damage is named."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pickle
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from chirpid.data.general.columns import Columns
from chirpid.data.tensors import head as store_head
from chirpid.data.tensors.modes import in_mode
from chirpid.data.tensors.store import TensorStore
from chirpid.errors import BudgetError, ConfigError, DataError, StorageError
from chirpid.types import Mode
from tests.data.general.samples import NUM_ROWS, Mixed, Slow, batch_of, flip_byte, same_bits

IDS = [7, 299, 0, 7, *range(100, 140), 3]
KEPT_MODES = (Mode.cached, Mode.eager, Mode.lazy, Mode.streaming)


@pytest.fixture(autouse=True)
def _many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores of the tests have some chunks, as large ones have."""
    monkeypatch.setattr(store_head, "CHUNK_BYTES", 2**13)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A store of samples of all kinds."""
    TensorStore.write(tmp_path / "mixed", Mixed()).close()
    return tmp_path / "mixed"


def expected(ids: Any = IDS) -> Any:
    dataset = Mixed()
    return default_collate([dataset[i] for i in ids])


@pytest.mark.parametrize("mode", KEPT_MODES)
def test_batches_are_those_of_the_dataset(mixed: Path, mode: Mode) -> None:
    store = TensorStore(mixed, mode)
    assert len(store) == NUM_ROWS
    assert same_bits(batch_of(store, IDS).tree(), expected())
    assert same_bits(default_collate([store[i] for i in IDS]), expected())
    assert same_bits(default_collate(store.__getitems__(IDS)), expected())
    assert same_bits(store[40:60], expected(range(40, 60)))
    assert same_bits(store[60:40:-3], expected(range(60, 40, -3)))
    assert list(store[0]) == list(Mixed()[0])
    assert same_bits(store[-1], store[NUM_ROWS - 1])
    with pytest.raises(IndexError, match="300"):
        store[NUM_ROWS]
    assert len(batch_of(store, [])) == 0
    assert len(list(iter(store))) == NUM_ROWS
    again = pickle.loads(pickle.dumps(store))
    store.close()
    assert same_bits(batch_of(again, IDS).tree(), expected())
    with pytest.raises(StorageError, match="closed"):
        store[0]


def test_slices_of_a_map_are_views_and_writes_to_them_stay_here(mixed: Path) -> None:
    store = TensorStore(mixed)
    part, whole = store[10:20], store[:]
    assert part["value"].data_ptr() == whole["value"][10:].data_ptr()
    assert store[10]["value"].data_ptr() != part["value"].data_ptr()
    part["value"].zero_()
    assert (store[10]["value"] == 0).all()
    assert same_bits(TensorStore(mixed)[10:20], expected(range(10, 20)))


def test_samples_of_one_leaf_are_contiguous_views(tmp_path: Path) -> None:
    values = torch.randn(50, 4, 3)
    store = TensorStore.write(tmp_path / "s", values)
    assert store[5:9].is_contiguous()
    assert torch.equal(store[:], values)


@pytest.mark.parametrize("mode", KEPT_MODES)
def test_forked_workers_read_the_same(mixed: Path, mode: Mode) -> None:
    store = TensorStore(mixed, mode, layout=TensorStore.write(mixed, Mixed()).layout)
    store[0]
    loader = DataLoader(store, batch_size=100, num_workers=2, multiprocessing_context="fork")
    for number, batch in enumerate(loader):
        assert same_bits(batch, expected(range(100 * number, 100 * number + 100)))


def test_threads_share_a_store(mixed: Path) -> None:
    for mode in KEPT_MODES:
        store = TensorStore(mixed, mode, window_bytes=2**14)
        ids = [np.random.default_rng(seed).integers(0, NUM_ROWS, 64) for seed in range(24)]
        with ThreadPoolExecutor(6) as pool:
            batches = pool.map(partial(batch_of, store), ids)
        for batch, wanted in zip(batches, ids, strict=True):
            assert same_bits(batch.tree(), expected(wanted.tolist())), mode


def test_direct_reads_give_the_same(mixed: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the file system of the tests has none
        store = TensorStore(mixed, "lazy", direct=True)
    assert same_bits(batch_of(store, IDS).tree(), expected())


def test_where_there_are_no_direct_reads_it_is_said(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_DIRECT")
    said: list[str] = []
    store = TensorStore(mixed, "lazy", direct=True, say=said.append)
    assert said == ["direct=True -> plain reads: this system has no O_DIRECT"]
    assert same_bits(batch_of(store, IDS).tree(), expected())
    with pytest.warns(UserWarning, match="plain reads"):
        TensorStore(mixed, "lazy", direct=True)
    with pytest.raises(ConfigError, match="mode is 'cached'"):
        TensorStore(mixed, direct=True)


def test_the_order_of_blocks_reads_each_block_once_in_an_epoch(mixed: Path) -> None:
    rows = TensorStore(mixed).block_rows
    store = TensorStore(mixed, "streaming", window_bytes=6 * 2**13)
    sampler = store.sampler(16, seed=5)
    assert sampler.rule.is_windowed(NUM_ROWS)
    assert sampler.rule.window_segments == 3 * rows
    for ids in sampler.batches(0):
        batch_of(store, ids)
    assert store.num_block_reads == -(-NUM_ROWS // rows) > 3


def test_damage_is_named_and_refused_or_left_out(mixed: Path) -> None:
    store = TensorStore(mixed)
    assert store.verify() == []
    rows, row_bytes = store.block_rows, os.path.getsize(mixed / "rows.bin") // NUM_ROWS
    flip_byte(mixed / "rows.bin", (2 * rows + 1) * row_bytes + 3)
    (bad,) = store.verify()
    assert (bad.first, bad.end) == (2 * rows, 3 * rows)
    assert str(bad).endswith(f"rows.bin: rows {2 * rows} to {3 * rows - 1} "
                             "(chunk 2 differs from its checksum)")  # fmt: skip
    named = rf"rows\.bin: rows {2 * rows} to {3 * rows - 1} .*on_bad='skip'"
    with pytest.raises(StorageError, match=named):
        TensorStore(mixed, "eager")
    streamed = TensorStore(mixed, "streaming")
    assert same_bits(streamed[:rows], expected(range(rows)))
    with pytest.raises(StorageError, match=named):
        streamed[2 * rows]
    good = [i for i in range(NUM_ROWS) if not 2 * rows <= i < 3 * rows]
    for mode in KEPT_MODES:
        left = TensorStore(mixed, mode, on_bad="skip")
        assert left.bad == [bad]
        assert len(left) == len(good)
        assert same_bits(left[:], expected(good))
        assert same_bits(pickle.loads(pickle.dumps(left))[:5], expected(good[:5]))
        assert left.fingerprint() != store.fingerprint()


def test_a_file_that_was_cut_is_refused_in_one_line(mixed: Path) -> None:
    lazy = TensorStore(mixed, "lazy")
    size = os.path.getsize(mixed / "rows.bin")
    os.truncate(mixed / "rows.bin", size - 1)
    for mode in KEPT_MODES:
        with pytest.raises(StorageError, match=rf"rows\.bin has {size - 1} of {size} bytes"):
            TensorStore(mixed, mode)
    with pytest.raises(StorageError, match=rf"rows\.bin ends at byte {size - 1}"):
        lazy[NUM_ROWS - 1]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_head_that_cannot_be_read_is_no_store(mixed: Path, text: str) -> None:
    (mixed / "head.json").write_text(text)
    with pytest.raises(StorageError, match=r"holds no store of samples .*head\.json"):
        TensorStore(mixed)
    with pytest.raises(StorageError, match=r"holds files that are no store of samples"):
        TensorStore.write(mixed, Mixed())


def test_the_head_tells_what_is_there(mixed: Path) -> None:
    head = json.loads((mixed / "head.json").read_text())
    assert head["num_rows"] == NUM_ROWS
    assert head["fingerprint"] == "mixed 300"
    leaves = {leaf["name"]: (leaf["dtype"], leaf["shape"]) for leaf in head["leaves"]}
    assert leaves["value"] == ("float32", [3, 5])
    assert leaves["parts[0]"] == ("bfloat16", [3, 5])
    assert leaves["box.x"] == ("int32", [])
    plain = TensorStore(mixed)[0]["box"]
    assert type(plain).__name__ == "Box"
    assert plain._fields == ("x", "y")


def test_files_of_others_and_stores_of_other_content_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"no store of samples: mine\.bin"):
        TensorStore.write(tmp_path, torch.zeros(3))
    assert (tmp_path / "mine.bin").read_bytes() == b"mine"
    old = TensorStore.write(tmp_path / "s", torch.zeros(3), key="a")
    TensorStore.write(tmp_path / "s", torch.ones(3), key="a")  # said to be the same
    for key in ("b", None):
        with pytest.raises(StorageError, match="3 samples of other content"):
            TensorStore.write(tmp_path / "s", torch.ones(3), key=key)
    new = TensorStore.write(tmp_path / "s", torch.ones(3), key="b", overwrite=True)
    assert new[:].tolist() == [1, 1, 1]
    assert old[:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_write_the_same_bytes(tmp_path: Path, num_workers: int) -> None:
    told: list[tuple[int, int]] = []
    store = TensorStore.write(
        tmp_path / "s", Mixed(), num_workers=num_workers, progress=lambda *done: told.append(done)
    )
    assert same_bits(store[:], expected(range(NUM_ROWS)))
    assert told[0] == (0, NUM_ROWS)
    assert told[-1] == (NUM_ROWS, NUM_ROWS)
    again = TensorStore.write(tmp_path / "again", store, num_workers=num_workers)
    assert (tmp_path / "again/rows.bin").read_bytes() == (tmp_path / "s/rows.bin").read_bytes()
    assert isinstance(batch_of(again, [0]), Columns)


def test_draws_are_not_written_unasked(tmp_path: Path) -> None:
    class Noise(Mixed):
        def __getitem__(self, index: int) -> torch.Tensor:
            return self.values[index] + torch.rand(())

    with pytest.raises(ConfigError, match=r"TensorStore\.write would keep one draw .* from torch"):
        TensorStore.write(tmp_path / "s", Noise())
    store = TensorStore.write(tmp_path / "s", Noise(), freeze=True)
    assert not torch.equal(store[:], Mixed().values)


class Odd:
    """Samples of which one is not like the others, or kills who makes it."""

    def __init__(self, kills: bool = False) -> None:
        self.kills = kills

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 7 and self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(3 if index != 7 else 4)


def test_a_sample_unlike_the_others_ends_the_writing_with_its_name(tmp_path: Path) -> None:
    for num_workers in (0, 2):
        with pytest.raises(DataError, match="Sample 7 is not like the others"):
            TensorStore.write(tmp_path / "s", Odd(), num_workers=num_workers)
    with pytest.raises(StorageError, match="is not a whole store"):
        TensorStore(tmp_path / "s")
    with pytest.raises(DataError, match=r"A worker process died .* samples 0 to 8"):
        TensorStore.write(tmp_path / "s", Odd(kills=True), num_workers=2)
    with pytest.raises(ConfigError, match="num_workers=-1"):
        TensorStore.write(tmp_path / "s", Odd(), num_workers=-1)
    with pytest.raises(DataError, match="no numbers"):
        TensorStore.write(tmp_path / "s", [{"text": "a"}])


def test_what_the_disk_cannot_hold_is_refused_before_a_sample_is_made(tmp_path: Path) -> None:
    log = tmp_path / "log"

    class Huge(Slow):
        def __len__(self) -> int:
            return 10**12

    with pytest.raises(BudgetError, match=r"The store needs \d+\.\d GiB, the disk of"):
        TensorStore.write(tmp_path / "s", Huge(log))
    assert log.read_text().split() == ["0"]  # to see what a sample is


def test_eager_refuses_what_does_not_fit_into_ram(mixed: Path) -> None:
    with pytest.raises(BudgetError, match=r"mode='eager' needs .* Use mode='cached'"):
        TensorStore(mixed, "eager", budget_bytes=1000)


def write_slow(folder: Path, log: Path) -> None:
    torch.set_num_threads(1)  # OpenMP does not survive the fork
    TensorStore.write(folder, Slow(log)).close()


NUM_LOOKS = 5
"""Samples that are made to see what they are, and whether they draw."""


def test_stores_that_nobody_closes_leak_no_file(mixed: Path, tmp_path: Path) -> None:
    in_mode(Mixed(), "cached", cache_root=tmp_path).close()
    (cached,) = (tmp_path / "rows").iterdir()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for mode in KEPT_MODES:
        for folder in (mixed, cached):
            TensorStore(folder, mode)[0]
    TensorStore(mixed, "lazy", direct=True, say=print)[0]
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def num_lines(log: Path) -> int:
    return len(log.read_text().split()) if log.exists() else 0


def test_a_writer_that_was_killed_leaves_nothing_that_is_read_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_head, "CHUNK_BYTES", 2**21)
    folder, log, fork = tmp_path / "s", tmp_path / "log", multiprocessing.get_context("fork")
    for _ in range(3):
        writer = fork.Process(target=write_slow, args=(folder, log))
        writer.start()
        wanted = num_lines(log) + 11  # the first look, a chunk, and half of another
        while num_lines(log) < wanted:
            time.sleep(0.001)
        writer.kill()
        writer.join()
        with pytest.raises(StorageError):
            TensorStore(folder)
    marks = (folder / "chunks.bin").read_bytes()
    done = {c for c in range(len(marks) // 8) if marks[8 * c : 8 * c + 4] == b"done"}
    before = num_lines(log)
    store = TensorStore.write(folder, Slow(log))
    made = {int(line) // 4 for line in log.read_text().split()[before + NUM_LOOKS :]}
    assert not done & made
    assert done
    assert torch.equal(store[:][:, 0], torch.arange(30.0))
    assert store.verify() == []


def test_of_two_writers_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_head, "CHUNK_BYTES", 2**21)
    folder, log, fork = tmp_path / "s", tmp_path / "log", multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_slow, args=(folder, log)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    made = sorted(int(line) for line in log.read_text().split())
    assert [index for index in made if index > 1] == list(range(2, 30))  # both look at the first
    assert torch.equal(TensorStore(folder)[:][:, 0], torch.arange(30.0))
