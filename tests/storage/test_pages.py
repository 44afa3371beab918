"""What is in RAM is told, and rows that are asked for come to be there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from chirpid.storage.layout import RowLayout
from chirpid.storage.pages import ReadAhead, can_read_ahead, runs_of, share_in_ram
from chirpid.storage.rowstore import build, open_rows

LAYOUT = RowLayout(num_rows=512, shape=(16384,), dtype="uint8", chunk_rows=64)  # 8 MiB


def drop(path: Path) -> None:
    """Take a file out of the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    if not can_read_ahead():
        pytest.skip("this system takes no such advice")
    build(tmp_path, LAYOUT, lambda a, b, kept: kept.fill_(a % 200), about={}, num_threads=1)
    drop(tmp_path / "rows.bin")
    if share_in_ram(open_rows(tmp_path, LAYOUT)) > 0:
        pytest.skip("this file system keeps its files in RAM")
    return tmp_path


def test_a_file_that_was_read_is_in_ram_and_a_dropped_one_is_not(rows: Path) -> None:
    mapped = open_rows(rows, LAYOUT)
    (rows / "rows.bin").read_bytes()
    assert share_in_ram(mapped) == 1.0
    drop(rows / "rows.bin")
    assert share_in_ram(mapped) == 0.0
    assert share_in_ram(torch.empty(0)) == 1.0


def test_rows_that_are_asked_for_come_and_no_others(rows: Path) -> None:
    mapped = open_rows(rows, LAYOUT)
    ReadAhead(rows / "rows.bin", LAYOUT, once=True).ask(np.array([40, 7, 300, 8]))
    wanted = [7, 8, 40, 300]
    deadline = time.monotonic() + 20
    while any(share_in_ram(mapped[i]) < 1 for i in wanted) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [share_in_ram(mapped[i]) for i in wanted] == [1.0] * 4
    assert share_in_ram(mapped[100:200]) == 0.0


def test_a_row_is_asked_for_once_where_it_stays(rows: Path) -> None:
    ahead = ReadAhead(rows / "rows.bin", LAYOUT, once=True)
    for ids in (np.arange(256), np.arange(256), np.arange(200, 511)):
        ahead.ask(ids)
        assert not ahead.is_done
    ahead.ask(np.array([511, 511]))
    assert ahead.is_done
    always = ReadAhead(rows / "rows.bin", LAYOUT, once=False)
    for _ in range(3):
        always.ask(np.arange(512))
    assert not always.is_done


def test_neighbours_are_one_run() -> None:
    assert list(runs_of(np.array([1, 2, 2, 3, 7, 9, 10]))) == [(1, 4), (7, 8), (9, 11)]
    assert list(runs_of(np.array([], dtype=np.int64))) == []
    assert list(runs_of(np.array([5]))) == [(5, 6)]
