"""Shards come back as they were written; each kind of damage is named with its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chirpid.errors import DataError, StorageError
from chirpid.storage.rowstore import RowLayout
from chirpid.storage.shards import (
    forget_shards,
    is_complete,
    read_layout,
    read_shard,
    shard_path,
    verify,
    write_shards,
)
from tests.storage.builder import LAYOUT, expected, fill, flip_byte


def written(folder: Path, layout: RowLayout = LAYOUT, make=fill) -> list[int]:
    """Write the shards and return the first rows of those that were made."""
    made: list[int] = []

    def noted(first: int, end: int, kept: torch.Tensor) -> None:
        make(first, end, kept)
        made.append(first)

    write_shards(folder, layout, noted, about={}, num_threads=2)
    return sorted(made)


def all_rows(folder: Path) -> torch.Tensor:
    return torch.cat([read_shard(folder, LAYOUT, s) for s in range(LAYOUT.num_chunks)])


def test_shards_come_back_as_they_were_written_and_are_written_once(tmp_path: Path) -> None:
    assert len(written(tmp_path)) == LAYOUT.num_chunks
    assert torch.equal(all_rows(tmp_path), expected())
    assert read_layout(tmp_path) == LAYOUT
    assert verify(tmp_path, LAYOUT) == []
    assert written(tmp_path) == []


@pytest.mark.parametrize("offset", [0, 9, 13, 21, 64, 3000])
def test_a_flipped_byte_anywhere_is_found_and_its_file_named(tmp_path: Path, offset: int) -> None:
    written(tmp_path)
    flip_byte(shard_path(tmp_path, 4), offset)
    with pytest.raises(StorageError, match=r"shard-00004\.bin is damaged"):
        read_shard(tmp_path, LAYOUT, 4)
    assert verify(tmp_path, LAYOUT) == [4]


def test_what_the_message_advises_works(tmp_path: Path) -> None:
    written(tmp_path)
    flip_byte(shard_path(tmp_path, 4), 200)
    shard_path(tmp_path, 4).unlink()
    assert not is_complete(tmp_path, LAYOUT)
    assert written(tmp_path) == [40]
    assert torch.equal(all_rows(tmp_path), expected())


def test_forgotten_shards_are_written_again(tmp_path: Path) -> None:
    written(tmp_path)
    forget_shards(tmp_path, [0, 14])
    assert written(tmp_path) == [0, 140]
    assert torch.equal(all_rows(tmp_path), expected())


@pytest.mark.parametrize("size", [0, 10, 64, 500])
def test_a_shard_cut_short_is_named_and_written_again(tmp_path: Path, size: int) -> None:
    written(tmp_path)
    path = shard_path(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(StorageError, match=r"shard-00002\.bin is (cut short|damaged)"):
        read_shard(tmp_path, LAYOUT, 2)
    assert written(tmp_path) == [20]


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    shard_path(tmp_path, 7).unlink()
    with pytest.raises(StorageError, match=r"Cannot read .*shard-00007\.bin"):
        read_shard(tmp_path, LAYOUT, 7)


def test_shards_of_another_layout_are_not_kept(tmp_path: Path) -> None:
    other = RowLayout(LAYOUT.num_rows, LAYOUT.shape, "int16", LAYOUT.chunk_rows)
    written(tmp_path, other, lambda first, end, kept: kept.fill_(3))
    assert len(written(tmp_path)) == LAYOUT.num_chunks
    assert torch.equal(all_rows(tmp_path), expected())


def test_an_error_while_writing_keeps_what_is_whole(tmp_path: Path) -> None:
    def fails(first: int, end: int, kept: torch.Tensor) -> None:
        if first == 100:
            raise DataError("100.ogg is gone")
        fill(first, end, kept)

    with pytest.raises(DataError, match="100"):
        written(tmp_path, make=fails)
    assert not is_complete(tmp_path, LAYOUT)
    kept = {c for c in range(LAYOUT.num_chunks) if shard_path(tmp_path, c).exists()}
    assert set(written(tmp_path)) == {10 * c for c in range(LAYOUT.num_chunks)} - {
        10 * c for c in kept
    }
