"""Stores are written once, whole, alone and in the room there is; what was made before is kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from chirpid.data.general.columns import Columns
from chirpid.data.tensors import head as store_head
from chirpid.data.tensors.store import TensorStore
from chirpid.errors import BudgetError, ConfigError, DataError, StorageError
from tests.data.general.samples import NUM_ROWS, Mixed, Slow, batch_of, collated, same_bits

pytestmark = pytest.mark.usefixtures("many_chunks")


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
    assert same_bits(store[:], collated(range(NUM_ROWS)))
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


def write_slow(folder: Path, log: Path) -> None:
    torch.set_num_threads(1)  # OpenMP does not survive the fork
    TensorStore.write(folder, Slow(log)).close()


NUM_LOOKS = 5
"""Samples that are made to see what they are, and whether they draw."""


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
