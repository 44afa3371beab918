from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from chirpid.data.images.dataset import ImageDataset
from chirpid.data.images.memory import ImageMemory
from tests.data.general.pictures import H, W, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve colour images of three classes."""
    return write_photos(tmp_path_factory.mktemp("photos"))


def test_what_was_kept_is_not_decoded_again(photos: Path) -> None:
    plain = ImageDataset(photos, size=(8, 8))
    one = 3 * 8 * 8
    found = ImageDataset(photos, size=(8, 8), cache_bytes=5 * one)
    for _ in range(3):
        for index in range(len(found)):
            assert found[index][0].equal(plain[index][0])
    memory = found.memory
    assert memory is not None
    assert memory.num_bytes == 5 * one
    assert (memory.hits, memory.misses) == (2 * 5, 12 + 2 * 7)


def test_images_of_any_size_are_kept_up_to_the_limit(photos: Path) -> None:
    found = ImageDataset(photos, cache_bytes=3 * H * W * 3 + 5, normalise=(0.5, 0.5))
    for _ in range(2):
        for index in range(len(found)):
            assert found[index][0].equal(ImageDataset(photos, normalise=(0.5, 0.5))[index][0])
    assert found.memory is not None
    assert found.memory.hits == 3


def test_threads_read_and_keep_the_same_images(photos: Path) -> None:
    plain, found = (ImageDataset(photos, size=(8, 8), cache_bytes=kept) for kept in (0, 1 << 20))
    ids = np.random.default_rng(0).integers(0, 12, 400)
    batches = np.split(ids, 50)

    def read(batch: np.ndarray) -> torch.Tensor:
        out = found.layout.empty(len(batch))
        found.read_into(batch, out)
        return out.tensors[0]

    with ThreadPoolExecutor(4) as pool:
        for batch, images in zip(batches, pool.map(read, batches), strict=True):
            assert all(map(torch.equal, images, (plain[index][0] for index in batch)))
    memory = found.memory
    assert memory is not None
    assert memory.hits + memory.misses == 400
    assert memory.num_bytes == 12 * 3 * 8 * 8


def test_a_fork_while_a_thread_holds_the_lock_does_not_hang() -> None:
    memory = ImageMemory(2, np.dtype(np.uint8), 8)
    memory.put(0, np.full((1, 2, 2), 7, np.uint8))

    def child() -> None:
        memory.put(1, np.full((1, 2, 2), 9, np.uint8))
        kept = [memory.get(index) for index in (0, 1)]
        os._exit(0 if all(one is not None for one in kept) else 1)

    with memory._lock:
        process = multiprocessing.get_context("fork").Process(target=child)
        thread = threading.Thread(target=process.start)
        thread.start()
        thread.join()
    process.join(20)
    assert process.exitcode == 0
