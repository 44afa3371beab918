"""Few shards are open at a time, the next ones are brought first, and a bad one is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.errors import StorageError
from chirpid.storage.layout import RowLayout
from chirpid.storage.remote import LocalPlace, open_place
from chirpid.storage.remote_shards import RemoteShards
from chirpid.storage.shard_ahead import Foresight
from chirpid.storage.shard_set import read_index, write_set
from chirpid.storage.shard_window import LocalShards, ShardWindow
from chirpid.storage.shards import shard_bytes, shard_name, shard_path
from tests.examples import examples
from tests.storage.builder import LAYOUT, expected, fill, flip_byte
from tests.storage.servers import WebServer, cut, flipped, status, web_server

SIZE = shard_bytes(LAYOUT, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = LocalPlace(tmp_path / "set")
    write_set(place, LAYOUT, fill, about={}, files={}, rows_key="k", num_threads=1)
    return place.folder


@pytest.fixture
def server(folder: Path) -> Iterator[WebServer]:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    with web_server(folder.parent) as running:
        yield running


def remote(server: WebServer, cache: Path, *, shards: int = 100, attempts: int = 4) -> RemoteShards:
    place = open_place(f"{server.url}/set", pause_s=0.001, attempts=attempts)
    checksums = read_index(place).checksums
    return RemoteShards(place, LAYOUT, checksums, folder=cache, budget_bytes=shards * SIZE)


def rows_of(window: ShardWindow, shard: int) -> torch.Tensor:
    opened = window.take([shard])[0][shard]
    count = len(opened.rows)
    return window.check(shard, opened, np.arange(count)).rows


def wanted(shard: int) -> torch.Tensor:
    first, end = LAYOUT.span(shard)
    return expected()[first:end]


@settings(max_examples=examples(60), deadline=None)
@given(
    batches=st.lists(st.lists(st.integers(0, 199), min_size=1, max_size=6), max_size=30),
    kept=st.integers(1, 5),
    ahead=st.integers(1, 5),
)
def test_every_shard_is_named_before_it_is_used_and_few_ahead(batches, kept, ahead) -> None:
    foresight = Foresight([np.array(b) for b in batches], 10, kept=kept, ahead=ahead)
    named: list[int] = []
    for turn, ids in enumerate(batches):
        if turn >= foresight.again_at:
            named += foresight.next(turn)
        assert {i // 10 for i in ids} <= set(named), "named by the time it is wanted"
        used = {i // 10 for batch in batches[: turn + 1] for i in batch}
        assert len(set(named) - used) <= ahead
    assert set(named) == {i // 10 for batch in batches for i in batch}


def test_remote_rows_are_the_rows_that_were_written(server: WebServer, tmp_path: Path) -> None:
    window = ShardWindow(remote(server, tmp_path / "c"), kept=3, ahead=2)
    for shard in range(LAYOUT.num_chunks):
        assert torch.equal(rows_of(window, shard), wanted(shard))
        assert len(window) <= 3
    window.close()


@pytest.mark.parametrize("num_shards", [15, 150])
def test_copies_and_maps_are_bounded_whatever_the_size_of_the_set(
    tmp_path: Path, num_shards: int
) -> None:
    layout = RowLayout(num_rows=4 * num_shards, shape=(8,), dtype="float32", chunk_rows=4)
    place = LocalPlace(tmp_path / "set")
    make = lambda first, end, kept: kept.copy_(torch.arange(first, end)[:, None].expand(-1, 8))  # noqa: E731
    write_set(place, layout, make, about={}, files={}, rows_key="k", num_threads=1)
    size, cache = shard_bytes(layout, 0), tmp_path / "cache"
    files = RemoteShards(
        place, layout, read_index(place).checksums, folder=cache, budget_bytes=6 * size
    )
    window = ShardWindow(files, kept=2, ahead=2)
    order = np.random.default_rng(0).permutation(num_shards)
    window.expect([np.array([4 * s]) for s in order])
    most = 0
    for turn, shard in enumerate(order.tolist()):
        opened = window.take([shard])[0][shard]
        window.reached(turn)
        assert int(opened.rows[0, 0]) == 4 * shard
        assert len(window) <= 2
        most = max(most, len(list(cache.glob("shard-*"))))
    window.close()
    assert most <= 6


def test_the_next_shards_are_brought_while_the_first_is_in_use(
    server: WebServer, tmp_path: Path
) -> None:
    files = remote(server, tmp_path / "c")
    window = ShardWindow(files, kept=2, ahead=3)
    order = [5, 1, 9, 0, 7]
    window.expect([np.array([10 * s]) for s in order])
    window.take([5])
    window.reached(0)
    for _ in range(2000):
        if all(map(files.is_here, (1, 9, 0))):
            break
        threading.Event().wait(0.005)
    assert all(map(files.is_here, (5, 1, 9, 0)))
    assert not files.is_here(7), "beyond what may lie ahead"
    asked = list(server.asked)
    window.take([1, 9, 0])
    assert server.asked == asked, "nothing is brought twice"
    window.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("chirpid-shards")]


def test_many_threads_bring_a_shard_once(server: WebServer, tmp_path: Path) -> None:
    window = ShardWindow(remote(server, tmp_path / "c"), kept=20)
    found: list[bool] = []

    def take() -> None:
        maps, _ = window.take([3, 4, 5])
        found.append(all(torch.equal(maps[s].rows, wanted(s)) for s in (3, 4, 5)))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    window.close()
    assert found == [True] * 4
    assert sorted(server.asked) == ["index.json", *(shard_name(s) for s in (3, 4, 5))]


@pytest.mark.parametrize("fault", [status(500), cut, flipped])
def test_a_shard_that_comes_badly_once_comes_again(
    server: WebServer, tmp_path: Path, fault
) -> None:
    window = ShardWindow(remote(server, tmp_path / "c"), kept=2)
    server.faults[shard_name(2)] = [fault]
    assert torch.equal(rows_of(window, 2), wanted(2))
    window.close()


def test_a_bad_shard_is_named_with_its_address_and_segments(
    server: WebServer, folder: Path, tmp_path: Path
) -> None:
    files = remote(server, tmp_path / "c", attempts=2)
    window = ShardWindow(files, kept=2)
    flip_byte(folder / shard_name(4), 300)
    with pytest.raises(StorageError, match=r"http.*/set/shard-00004\.bin: it is damaged at segment "
                       r"40, after 2 attempts\. It holds segments 40 to 49"):  # fmt: skip
        window.take([4])
    (folder / shard_name(5)).unlink()
    with pytest.raises(StorageError, match=r"http.*/shard-00005\.bin is missing\. It holds "
                       r"segments 50 to 59\. Write the set again"):  # fmt: skip
        window.take([5, 6])
    (folder / shard_name(7)).write_bytes((folder / shard_name(8)).read_bytes())
    with pytest.raises(StorageError, match=r"shard-00007.*damaged, or a shard of another set"):
        window.take([7])
    assert torch.equal(rows_of(window, 0), wanted(0)), "the others can still be had"
    window.close()


def test_a_copy_that_is_damaged_on_this_disk_comes_again(server: WebServer, tmp_path: Path) -> None:
    files = remote(server, tmp_path / "c")
    window = ShardWindow(files, kept=2)
    flip_byte(files.path(2), 300)
    assert torch.equal(rows_of(window, 2), wanted(2))
    flip_byte(files.path(3), 5)  # the header
    assert torch.equal(rows_of(window, 3), wanted(3))
    assert server.asked.count(shard_name(2)) == server.asked.count(shard_name(3)) == 2
    window.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "swap"])
def test_a_bad_local_shard_of_a_set_is_named(folder: Path, damage: str) -> None:
    path = shard_path(folder, 4)
    if damage == "flip":
        flip_byte(path, 300)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "remove":
        path.unlink()
    else:
        path.write_bytes(shard_path(folder, 3).read_bytes())
    checksums = read_index(LocalPlace(folder)).checksums
    window = ShardWindow(LocalShards(folder, LAYOUT, checksums=checksums), kept=2)
    with pytest.raises(StorageError, match=r"shard-00004\.bin is .*It holds segments 40 to 49"):
        rows_of(window, 4)
    window.close()
