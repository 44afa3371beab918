"""Every way of reading a cache gives the same bits, and says when it is not the one asked for."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from chirpid.data.datasets import CachedDataset, DirectDataset
from chirpid.data.datasets import cached as datasets_cached
from chirpid.data.rows import RowMaker
from chirpid.errors import StorageError
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.processes import ProcessesBackend
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.loading.factory import Loader
from chirpid.storage.direct import DirectRows, NoDirectError
from chirpid.storage.pages import share_in_ram
from chirpid.types import Backend, Keep, Mode, ReadWay, StartMethod, StoreDtype
from tests.loading.test_backends import backend_of
from tests.storage.test_pages import drop
from tests.workbench import KINDS, dataset_of, maker_of


def cached(maker: RowMaker, cache: Path, read: ReadWay, **more):
    return dataset_of(Mode.cached, maker, cache, read=read, **more)


def direct(maker: RowMaker, cache: Path) -> DirectDataset:
    dataset = cached(maker, cache, ReadWay.direct)
    if not isinstance(dataset, DirectDataset):
        dataset.close()
        pytest.skip("this file system has no direct reads")
    return dataset


@pytest.mark.parametrize(("keep", "dtype"), KINDS)
def test_direct_reads_give_the_bits_of_the_map(
    maker: RowMaker, tmp_path: Path, keep: Keep, dtype: StoreDtype
) -> None:
    made = maker_of(maker.segments, keep=keep, dtype=dtype)
    read, mapped = direct(made, tmp_path), cached(made, tmp_path, ReadWay.map)
    rng = np.random.default_rng(1)
    for _ in range(5):
        ids = rng.integers(0, len(mapped), 11)
        assert torch.equal(read.fetch(ids)[0], mapped.fetch(ids)[0])
    read.close()
    mapped.close()


def cold_set(maker: RowMaker, tmp_path: Path) -> CachedDataset:
    """Return a cache of which nothing is in RAM."""
    warm = cached(maker, tmp_path, ReadWay.map)
    warm.close()
    drop(warm.folder / "rows.bin")
    cold = cached(maker, tmp_path, ReadWay.map)
    if not cold.looks_ahead:
        pytest.skip("this file system keeps its files in RAM")
    return cold


def test_cold_rows_are_the_same_rows_and_asked_for_only_while_cold(
    maker: RowMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = cached(maker, tmp_path, ReadWay.map)
    expected = warm.fetch(np.arange(len(warm)))[0].clone()
    warm.close()
    monkeypatch.setattr(datasets_cached, "AHEAD_BYTES", 1)
    cold = cold_set(maker, tmp_path)
    batches = np.array_split(np.random.default_rng(0).permutation(len(cold)), 5)
    cold.expect(batches)
    for turn, ids in enumerate(batches):
        assert cold.looks_ahead
        if turn < 4:  # the batch in use and the next one are asked for, none of those after it
            cold.reached(turn)
            assert cold.looks_ahead is (turn < 3)
        assert torch.equal(cold.fetch(ids)[0], expected[torch.from_numpy(ids)])
        if not cold.looks_ahead:
            break
    assert turn == 3
    with pytest.raises(IndexError):
        cold.fetch(np.array([len(cold)]))
    cold.close()


@pytest.mark.parametrize("backend", ["inline", "threads", "processes"])
def test_what_comes_of_a_cold_cache_is_read_while_a_batch_is_used(
    maker: RowMaker, tmp_path: Path, backend: str
) -> None:
    made = maker_of(maker.segments, keep=Keep.waveform, dtype=StoreDtype.float32)
    cold = cold_set(made, tmp_path)
    loader = Loader(cold, backend_of(backend, cold, num_workers=1), Backend(backend))
    passing = loader.run(np.array_split(np.arange(len(cold)), len(cold)))
    next(passing)
    assert not cold.looks_ahead, "workers have no slots for all of these, the disk has"
    deadline = time.monotonic() + 20
    while share_in_ram(cold.rows) < 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert share_in_ram(cold.rows) == 1.0
    passing.close()
    loader.close()


def test_auto_says_what_is_cold_and_does_not_fit(maker: RowMaker, tmp_path: Path) -> None:
    direct(maker, tmp_path).close()
    said: list[str] = []
    fits = cached(maker, tmp_path, ReadWay.auto, free_bytes=2**40, say=said.append)
    warm = cached(maker, tmp_path, ReadWay.auto, free_bytes=0, say=said.append)
    assert isinstance(fits, CachedDataset)
    assert isinstance(warm, CachedDataset), "what is in RAM already need not be read"
    fits.close()
    warm.close()
    assert said == []
    drop(warm.folder / "rows.bin")
    cold = cached(maker, tmp_path, ReadWay.auto, free_bytes=0, say=said.append)
    assert isinstance(cold, CachedDataset), "measured to be quicker than reading past the cache"
    if not cold.looks_ahead:
        pytest.skip("this file system keeps its files in RAM")
    assert said == [
        "the rows take 0.1 MiB, RAM has 0.0 MiB free: they are read from the disk, ahead of use"
    ]
    cold.close()


def test_a_file_system_without_direct_reads_is_said_and_mapped(
    maker: RowMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cached(maker, tmp_path, ReadWay.map)

    def refuse(self: DirectRows, path: Path, layout: object) -> None:
        raise NoDirectError(f"the file system of {path.parent} has no O_DIRECT")

    monkeypatch.setattr(DirectRows, "__init__", refuse)
    said: list[str] = []
    dataset = cached(maker, tmp_path, ReadWay.direct, say=said.append)
    assert isinstance(dataset, CachedDataset)
    assert said == [f"read direct -> map: the file system of {dataset.folder} has no O_DIRECT"]
    ids = np.arange(len(dataset))
    assert torch.equal(dataset.fetch(ids)[0], before.fetch(ids)[0])


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_backends_read_directly(maker: RowMaker, tmp_path: Path, backend: str) -> None:
    dataset = direct(maker, tmp_path)
    batches = np.array_split(np.random.default_rng(2).permutation(len(dataset)), 7)
    inline = [batch.inputs.clone() for batch in InlineBackend(dataset).run(batches)]
    if backend == "threads":
        other = ThreadsBackend(dataset, num_workers=2, prefetch=2)
    else:
        other = ProcessesBackend(dataset, num_workers=1, prefetch=2, start_method=StartMethod.fork)
    for wanted, batch in zip(inline, other.run(batches), strict=True):
        assert torch.equal(batch.inputs, wanted)
    other.close()
    dataset.close()


def test_a_direct_dataset_holds_its_store_pickles_small_and_leaves_nothing_open(
    maker: RowMaker, tmp_path: Path
) -> None:
    direct(maker, tmp_path).close()
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        dataset = direct(maker, tmp_path)
        again = pickle.loads(pickle.dumps(dataset))
        ids = np.arange(0, len(dataset), 3)
        assert torch.equal(again.fetch(ids)[0], dataset.fetch(ids)[0])
        again.close()
        dataset.close()
        dataset.close()
    if files:
        assert len(os.listdir("/proc/self/fd")) == files
    (dataset.folder / "meta.json").unlink()
    with pytest.raises(StorageError, match="not a whole store"):
        DirectDataset(maker.spec, dataset.folder, dataset.layout)
