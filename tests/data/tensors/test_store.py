"""Stores give samples back bit for bit, are whole or refused, and damage is named."""

from __future__ import annotations

import gc
import json
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from chirpid.data.tensors.modes import in_mode
from chirpid.data.tensors.store import TensorStore
from chirpid.errors import BudgetError, ConfigError, StorageError
from chirpid.types import Mode
from tests.data.general.samples import NUM_ROWS, Mixed, batch_of, collated, same_bits
from tests.storage.builder import flip_byte

IDS = [7, 299, 0, 7, *range(100, 140), 3]
KEPT_MODES = (Mode.cached, Mode.eager, Mode.lazy, Mode.streaming)

pytestmark = pytest.mark.usefixtures("many_chunks")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A store of samples of all kinds."""
    TensorStore.write(tmp_path / "mixed", Mixed()).close()
    return tmp_path / "mixed"


@pytest.mark.parametrize("mode", KEPT_MODES)
def test_batches_are_those_of_the_dataset(mixed: Path, mode: Mode) -> None:
    store = TensorStore(mixed, mode)
    assert len(store) == NUM_ROWS
    assert same_bits(batch_of(store, IDS).tree(), collated(IDS))
    assert same_bits(default_collate([store[i] for i in IDS]), collated(IDS))
    assert same_bits(default_collate(store.__getitems__(IDS)), collated(IDS))
    assert same_bits(store[40:60], collated(range(40, 60)))
    assert same_bits(store[60:40:-3], collated(range(60, 40, -3)))
    assert list(store[0]) == list(Mixed()[0])
    assert same_bits(store[-1], store[NUM_ROWS - 1])
    with pytest.raises(IndexError, match="300"):
        store[NUM_ROWS]
    assert len(batch_of(store, [])) == 0
    assert len(list(iter(store))) == NUM_ROWS
    again = pickle.loads(pickle.dumps(store))
    store.close()
    assert same_bits(batch_of(again, IDS).tree(), collated(IDS))
    with pytest.raises(StorageError, match="closed"):
        store[0]


def test_slices_of_a_map_are_views_and_writes_to_them_stay_here(mixed: Path) -> None:
    store = TensorStore(mixed)
    part, whole = store[10:20], store[:]
    assert part["value"].data_ptr() == whole["value"][10:].data_ptr()
    assert store[10]["value"].data_ptr() != part["value"].data_ptr()
    part["value"].zero_()
    assert (store[10]["value"] == 0).all()
    assert same_bits(TensorStore(mixed)[10:20], collated(range(10, 20)))


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
        assert same_bits(batch, collated(range(100 * number, 100 * number + 100)))


def test_threads_share_a_store(mixed: Path) -> None:
    for mode in KEPT_MODES:
        store = TensorStore(mixed, mode, window_bytes=2**14)
        ids = [np.random.default_rng(seed).integers(0, NUM_ROWS, 64) for seed in range(24)]
        with ThreadPoolExecutor(6) as pool:
            batches = pool.map(partial(batch_of, store), ids)
        for batch, wanted in zip(batches, ids, strict=True):
            assert same_bits(batch.tree(), collated(wanted.tolist())), mode


def test_direct_reads_give_the_same(mixed: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the file system of the tests has none
        store = TensorStore(mixed, "lazy", direct=True)
    assert same_bits(batch_of(store, IDS).tree(), collated(IDS))


def test_where_there_are_no_direct_reads_it_is_said(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_DIRECT")
    said: list[str] = []
    store = TensorStore(mixed, "lazy", direct=True, say=said.append)
    assert said == ["direct=True -> plain reads: this system has no O_DIRECT"]
    assert same_bits(batch_of(store, IDS).tree(), collated(IDS))
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
    assert same_bits(streamed[:rows], collated(range(rows)))
    with pytest.raises(StorageError, match=named):
        streamed[2 * rows]
    good = [i for i in range(NUM_ROWS) if not 2 * rows <= i < 3 * rows]
    for mode in KEPT_MODES:
        left = TensorStore(mixed, mode, on_bad="skip")
        assert left.bad == [bad]
        assert len(left) == len(good)
        assert same_bits(left[:], collated(good))
        assert same_bits(pickle.loads(pickle.dumps(left))[:5], collated(good[:5]))
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


def test_eager_refuses_what_does_not_fit_into_ram(mixed: Path) -> None:
    with pytest.raises(BudgetError, match=r"mode='eager' needs .* Use mode='cached'"):
        TensorStore(mixed, "eager", budget_bytes=1000)


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
