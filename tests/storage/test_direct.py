"""Direct reads give the rows of the file, in few and aligned requests, and fail in one line."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.errors import StorageError
from chirpid.storage.direct import (
    ALIGNMENT,
    REQUEST_BYTES,
    DirectRows,
    NoDirectError,
    requests_of,
)
from chirpid.storage.layout import RowLayout
from tests.at_once import at_once
from tests.examples import examples


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose file system reads directly."""
    folder = tmp_path_factory.mktemp("direct")
    layout = RowLayout(num_rows=2, shape=(3,), dtype="int16", chunk_rows=2)
    (folder / "probe").write_bytes(bytes(layout.num_bytes))
    try:
        DirectRows(folder / "probe", layout).close()
    except NoDirectError as error:
        pytest.skip(str(error))
    return folder


def store(place: Path, layout: RowLayout) -> tuple[Path, torch.Tensor]:
    numbers = layout.num_bytes // layout.torch_dtype.itemsize
    rows = (torch.arange(numbers) * 7919 % 251).to(layout.torch_dtype)
    path = place / f"{layout.num_rows}-{layout.row_bytes}"
    path.write_bytes(rows.numpy().tobytes())
    return path, rows.view(layout.num_rows, *layout.shape)


def read(direct: DirectRows, ids: np.ndarray) -> torch.Tensor:
    batch = torch.zeros((len(ids), *direct.layout.shape), dtype=direct.layout.torch_dtype)

    def fill(rows: torch.Tensor, wanted: np.ndarray, places: np.ndarray) -> None:
        batch[torch.from_numpy(places)] = rows[torch.from_numpy(wanted)]

    direct.read(ids, fill)
    return batch


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_rows_come_as_they_lie_in_the_file(place: Path, data: st.DataObject) -> None:
    layout = RowLayout(
        num_rows=data.draw(st.integers(1, 300), "rows"),
        shape=(data.draw(st.sampled_from([1, 7, 511, 2048, 2049, 20032]), "numbers"),),
        dtype=data.draw(st.sampled_from(["uint8", "int16", "float16", "float32"])),
        chunk_rows=64,
    )
    path, rows = store(place, layout)
    index = st.integers(0, layout.num_rows - 1)
    ids = np.array(data.draw(st.lists(index, max_size=40)), dtype=np.int64)
    direct = DirectRows(path, layout)
    try:
        assert torch.equal(read(direct, ids), rows[torch.from_numpy(ids)])
    finally:
        direct.close()


def test_a_row_larger_than_a_request_is_read_whole(place: Path) -> None:
    layout = RowLayout(num_rows=3, shape=(REQUEST_BYTES + 1000,), dtype="uint8", chunk_rows=1)
    path, rows = store(place, layout)
    direct = DirectRows(path, layout)
    ids = np.array([2, 0, 1, 2])
    assert torch.equal(read(direct, ids), rows[torch.from_numpy(ids)])
    direct.close()


@given(
    ids=st.lists(st.integers(0, 5000), min_size=1, max_size=80),
    row_bytes=st.sampled_from([1, 100, 4096, 5000, 40064, REQUEST_BYTES + 5]),
)
def test_requests_hold_every_row_once_and_neighbours_together(
    ids: list[int], row_bytes: int
) -> None:
    found = requests_of(np.array(ids), row_bytes)
    places = np.concatenate([request.places for request in found])
    assert sorted(places.tolist()) == list(range(len(ids)))
    for request in found:
        assert [ids[place] for place in request.places] == request.ids.tolist()
        assert request.first == request.ids.min()
        assert request.end == request.ids.max() + 1
        assert (request.end - request.first) * row_bytes <= max(REQUEST_BYTES, row_bytes)
    for one, other in itertools.pairwise(found):
        assert one.end <= other.first, "no row is read twice"
        blocks_between = other.first * row_bytes // ALIGNMENT + -one.end * row_bytes // ALIGNMENT
        together = (int(other.ids[0]) + 1 - one.first) * row_bytes
        assert blocks_between > 0 or together > REQUEST_BYTES


def test_a_run_of_rows_is_few_requests_and_scattered_rows_one_each() -> None:
    assert len(requests_of(np.arange(100), 5000)) == 1
    assert len(requests_of(np.arange(100)[::-1], 5000)) == 1
    assert len(requests_of(np.arange(100) * 10, 5000)) == 100
    assert len(requests_of(np.zeros(9, dtype=np.int64), 5000)) == 1


def test_threads_share_the_reader_and_none_is_left(place: Path) -> None:
    layout = RowLayout(num_rows=300, shape=(2049,), dtype="int16", chunk_rows=64)
    path, rows = store(place, layout)
    direct, wrong = DirectRows(path, layout), []

    def often(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(10):
            ids = rng.integers(0, 300, 32)
            if not torch.equal(read(direct, ids), rows[torch.from_numpy(ids)]):
                wrong.append(ids)

    at_once(often, 3)
    direct.close()
    assert wrong == []
    assert not [t for t in threading.enumerate() if t.name.startswith("chirpid-read")]
    direct.close()


def test_a_forked_process_reads_with_threads_of_its_own(place: Path) -> None:
    layout = RowLayout(num_rows=50, shape=(5000,), dtype="int16", chunk_rows=64)
    path, rows = store(place, layout)
    direct, ids = DirectRows(path, layout), np.arange(0, 50, 7)
    read(direct, ids)
    wanted = rows[torch.from_numpy(ids)]
    child = os.fork()
    if child == 0:
        # As loader workers do: OpenMP's own threads do not survive fork either.
        torch.set_num_threads(1)
        os._exit(0 if torch.equal(read(direct, ids), wanted) else 1)
    assert os.waitpid(child, 0)[1] == 0
    direct.close()


def test_an_error_of_the_caller_ends_the_read_and_the_next_one_works(place: Path) -> None:
    layout = RowLayout(num_rows=200, shape=(5000,), dtype="int16", chunk_rows=64)
    path, rows = store(place, layout)
    direct, ids = DirectRows(path, layout), np.arange(0, 200, 3)

    def fails(*_: object) -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        direct.read(ids, fails)
    assert torch.equal(read(direct, ids), rows[torch.from_numpy(ids)])
    direct.close()


def test_a_file_cut_short_is_one_line(place: Path) -> None:
    layout = RowLayout(num_rows=20, shape=(5000,), dtype="int16", chunk_rows=64)
    path, _ = store(place, layout)
    os.truncate(path, 3 * layout.row_bytes + 17)
    direct = DirectRows(path, layout)
    assert len(read(direct, np.array([0, 2]))) == 2
    with pytest.raises(StorageError, match="cut short") as caught:
        read(direct, np.array([3, 0, 15]))
    assert "\n" not in caught.value.line()
    direct.close()


def test_a_file_system_that_refuses_says_so() -> None:
    layout = RowLayout(num_rows=1, shape=(1,), dtype="uint8", chunk_rows=1)
    refusing = Path("/proc/self/status")
    if not refusing.exists():
        pytest.skip("there is no file system known to refuse")
    with pytest.raises(NoDirectError, match="has no O_DIRECT"):
        DirectRows(refusing, layout)
    with pytest.raises(StorageError, match="Cannot read"):
        DirectRows(Path("/no/such/file"), layout)


def test_a_forked_reader_leaves_the_rows_of_its_parent_alone(place: Path) -> None:
    layout = RowLayout(num_rows=8, shape=(1024,), dtype="int16", chunk_rows=8)
    values = np.repeat(np.arange(8, dtype=np.int16), 1024)
    (place / "forked").write_bytes(values.tobytes() + bytes(layout.num_bytes - values.nbytes))
    rows, seen = DirectRows(place / "forked", layout), []

    def read_below(kept: torch.Tensor, _ids: object, _places: object) -> None:
        child = os.fork()
        if child == 0:  # it reads another row, into what its parent has just read to
            rows.read(np.array([7]), lambda *_: None)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        seen.append(kept.clone())

    try:
        rows.read(np.array([2]), read_below)
    finally:
        rows.close()
    assert seen[0].unique().tolist() == [2]
