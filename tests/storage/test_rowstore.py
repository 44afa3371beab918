"""Rows come back as they were made, damage is found and named, and faults leave nothing half."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.errors import DataError, StorageError
from chirpid.storage.rowstore import (
    RowLayout,
    build,
    forget_chunks,
    is_complete,
    open_rows,
    read_layout,
    verify,
)
from tests.examples import examples
from tests.storage.builder import LAYOUT, expected, fill, flip_byte


def built(folder: Path, layout: RowLayout = LAYOUT, make=fill, **more) -> Path:
    build(folder, layout, make, about={"dataset": "test"}, num_threads=2, **more)
    return folder


@settings(max_examples=examples(25), deadline=None)
@given(
    num_rows=st.integers(0, 40),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    dtype=st.sampled_from(["uint8", "int16", "float16", "float32"]),
    chunk_rows=st.integers(1, 50),
    threads=st.integers(1, 3),
)
def test_rows_come_back_as_they_were_made(
    tmp_path_factory: pytest.TempPathFactory, num_rows, shape, dtype, chunk_rows, threads
) -> None:
    layout = RowLayout(num_rows, tuple(shape), dtype, chunk_rows)
    rows = (torch.arange(layout.num_bytes // layout.torch_dtype.itemsize) % 1000).to(
        layout.torch_dtype
    )
    rows = rows.view(num_rows, *shape)
    folder = tmp_path_factory.mktemp("rows")
    build(folder, layout, lambda a, b, kept: kept.copy_(rows[a:b]), about={}, num_threads=threads)
    assert torch.equal(open_rows(folder, layout), rows)
    assert verify(folder, layout) == []
    assert read_layout(folder) == layout


def test_a_whole_store_is_not_built_again(tmp_path: Path) -> None:
    def never(first: int, end: int, kept: torch.Tensor) -> None:
        raise AssertionError("built again")

    built(tmp_path)
    built(tmp_path, make=never)


def test_a_flipped_byte_is_found_named_and_mended(tmp_path: Path) -> None:
    built(tmp_path)
    flip_byte(tmp_path / "rows.bin", 12 * LAYOUT.row_bytes + 5)
    flip_byte(tmp_path / "rows.bin", LAYOUT.num_bytes - 1)
    assert verify(tmp_path, LAYOUT) == [1, 14]
    forget_chunks(tmp_path, [1, 14])
    assert not is_complete(tmp_path, LAYOUT)
    made: list[int] = []

    def noted(first: int, end: int, kept: torch.Tensor) -> None:
        made.append(first)
        fill(first, end, kept)

    built(tmp_path, make=noted)
    assert sorted(made) == [10, 140]
    assert torch.equal(open_rows(tmp_path, LAYOUT), expected())


def test_a_reader_of_a_mended_store_sees_good_rows(tmp_path: Path) -> None:
    built(tmp_path)
    rows = open_rows(tmp_path, LAYOUT)
    forget_chunks(tmp_path, [0, 3])
    built(tmp_path)
    assert torch.equal(rows, expected())


def test_chunks_of_another_layout_do_not_pass_for_those_of_this_one(tmp_path: Path) -> None:
    other = RowLayout(LAYOUT.num_rows, LAYOUT.shape, LAYOUT.dtype, chunk_rows=40)

    def stops(first: int, end: int, kept: torch.Tensor) -> None:
        if first >= 80:
            raise DataError("a recording is gone")
        kept.fill_(9)

    with pytest.raises(DataError):
        built(tmp_path, other, stops)
    assert torch.equal(open_rows(built(tmp_path), LAYOUT), expected())
    # And a whole store of another layout does not, either, nor are its readers disturbed.
    before = open_rows(tmp_path, LAYOUT)
    built(tmp_path, other)
    assert not is_complete(tmp_path, LAYOUT)
    assert torch.equal(before, expected())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"layout": 3}', '{"layout": {"shape": 1}}']
)
def test_a_broken_meta_file_means_not_whole(tmp_path: Path, text: str) -> None:
    built(tmp_path)
    (tmp_path / "meta.json").write_text(text)
    assert not is_complete(tmp_path, LAYOUT)
    assert read_layout(tmp_path) is None
    with pytest.raises(StorageError, match="not a whole store"):
        open_rows(tmp_path, LAYOUT)
    assert torch.equal(open_rows(built(tmp_path), LAYOUT), expected())


def test_rows_cut_short_mean_not_whole(tmp_path: Path) -> None:
    built(tmp_path)
    os.truncate(tmp_path / "rows.bin", LAYOUT.num_bytes - 1)
    assert not is_complete(tmp_path, LAYOUT)


def test_a_stray_write_stays_in_this_process(tmp_path: Path) -> None:
    rows = open_rows(built(tmp_path), LAYOUT)
    rows[0] = 5
    assert torch.equal(open_rows(tmp_path, LAYOUT), expected())


def test_the_first_error_ends_the_build_and_what_is_done_is_kept(tmp_path: Path) -> None:
    def fails(first: int, end: int, kept: torch.Tensor) -> None:
        if first == 50:
            raise DataError("050.wav is gone")
        fill(first, end, kept)

    with pytest.raises(DataError, match=r"050\.wav"):
        build(tmp_path, LAYOUT, fails, about={}, num_threads=1)
    made: list[int] = []

    def noted(first: int, end: int, kept: torch.Tensor) -> None:
        made.append(first)
        fill(first, end, kept)

    built(tmp_path, make=noted)
    # A thread may have begun one more before the error stopped it.
    assert 50 in made
    assert min(made) == 50


def test_progress_counts_rows_and_goes_on_where_it_was(tmp_path: Path) -> None:
    built(tmp_path)
    forget_chunks(tmp_path, [2, 3])
    told: list[tuple[int, int]] = []
    built(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(130, 149), (140, 149), (149, 149)]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 KiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def test_a_full_disk_is_one_line_before_anything_is_made(tiny_disk: Path) -> None:
    def never(first: int, end: int, kept: torch.Tensor) -> None:
        raise AssertionError("the disk is full: nothing should be made")

    with pytest.raises(StorageError, match="Disk full while writing") as caught:
        built(tiny_disk / "store", make=never)
    assert "\n" not in caught.value.line()
    assert not is_complete(tiny_disk / "store", LAYOUT)
    assert (tiny_disk / "store" / "rows.bin").stat().st_blocks == 0, "the space is given back"


def test_a_file_size_limit_is_one_line_and_going_on_works(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, before[1]))
    try:
        with pytest.raises(StorageError, match="Cannot write"):
            built(tmp_path / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not is_complete(tmp_path / "store", LAYOUT)
    assert torch.equal(open_rows(built(tmp_path / "store"), LAYOUT), expected())


def test_sizes_beyond_32_bits_are_right() -> None:
    layout = RowLayout(num_rows=3_000_000, shape=(128, 501), dtype="float32", chunk_rows=64)
    assert layout.num_bytes == 3_000_000 * 128 * 501 * 4
    assert layout.span(layout.num_chunks - 1)[1] == 3_000_000


def test_verify_of_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot read"):
        verify(tmp_path, LAYOUT)
