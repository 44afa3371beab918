"""Processes and threads read one dataset of HDF5 files, and few files are open."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from chirpid.data.hdf5.dataset import HDF5Dataset
from tests.at_once import at_once

pytest.importorskip("h5py")

from tests.data.general.h5_files import IDS, NUM_ROWS, PACKED, arrays, batch_of, same, write


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
