"""Budgets hold: the least recently used cache goes first, and never one that is in use."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.errors import BudgetError
from chirpid.storage.caches import (
    cache_folder,
    hold,
    list_caches,
    make_room,
    remove,
    reserve,
    sweep,
)
from chirpid.storage.locks import FileLock
from chirpid.storage.rowstore import RowLayout, build
from tests.examples import examples

KIB = 1024
SMALL = RowLayout(num_rows=4, shape=(4096,), dtype="int16", chunk_rows=2)  # 32 KiB


def add(root: Path, key: str, used_at: float, layout: RowLayout = SMALL) -> Path:
    """Build a cache that was last used at a given time."""
    folder = cache_folder(root, "rows", key)
    build(folder, layout, lambda a, b, kept: kept.fill_(1), about={"dataset": key}, num_threads=1)
    hold(folder).close()
    os.utime(folder / "use.lock", (used_at, used_at))
    return folder


def names(root: Path) -> list[str]:
    return [entry.path.name for entry in list_caches(root)]


def size(root: Path) -> int:
    return list_caches(root)[0].num_bytes


def test_the_least_recently_used_goes_first_and_only_as_many_as_needed(tmp_path: Path) -> None:
    for key, at in (("b", 200), ("a", 100), ("d", 400), ("c", 300)):
        add(tmp_path, key, at)
    assert names(tmp_path) == ["a", "b", "c", "d"]
    each = size(tmp_path)
    gone = make_room(tmp_path, each, 4 * each, keep=tmp_path / "rows" / "e")
    assert [entry.path.name for entry in gone] == ["a"]
    gone = make_room(tmp_path, 2 * each, 4 * each, keep=tmp_path / "rows" / "e")
    assert [entry.path.name for entry in gone] == ["b"]
    assert names(tmp_path) == ["c", "d"]


def test_using_a_cache_keeps_it(tmp_path: Path) -> None:
    for key, at in (("a", 100), ("b", 200)):
        add(tmp_path, key, at)
    hold(tmp_path / "rows" / "a").close()
    each = size(tmp_path)
    make_room(tmp_path, each, 2 * each, keep=tmp_path / "rows" / "new")
    assert names(tmp_path) == ["a"]


def test_a_cache_in_use_or_in_the_making_is_never_removed(tmp_path: Path) -> None:
    used, made = add(tmp_path, "used", 100), add(tmp_path, "made", 200)
    add(tmp_path, "idle", 300)
    each = size(tmp_path)
    use, making = hold(used), FileLock(made / "build.lock")
    making.acquire()
    gone = make_room(tmp_path, each, 3 * each, keep=tmp_path / "rows" / "new")
    assert [entry.path.name for entry in gone] == ["idle"]
    with pytest.raises(BudgetError, match="caches in use"):
        make_room(tmp_path, 2 * each, 3 * each, keep=tmp_path / "rows" / "new")
    assert (used / "meta.json").exists()
    assert (made / "meta.json").exists()
    use.close()
    making.close()
    assert len(make_room(tmp_path, 3 * each, 3 * each, keep=tmp_path / "rows" / "new")) == 2


def test_a_cache_over_the_whole_budget_is_refused_before_anything_goes(tmp_path: Path) -> None:
    add(tmp_path, "a", 100)
    with pytest.raises(BudgetError, match=r"needs 2\.0 GiB, mode\.cache_gib allows 1\.0 GiB"):
        make_room(tmp_path, 2 * 2**30, 2**30, keep=tmp_path / "rows" / "new")
    assert names(tmp_path) == ["a"]


def test_more_than_the_disk_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"GiB free\. Set paths\.cache to another disk"):
        make_room(tmp_path, 2**60, 2**61, keep=tmp_path / "rows" / "new")


@settings(max_examples=examples(20), deadline=None)
@given(order=st.permutations(range(5)), wanted=st.integers(1, 5), budget=st.integers(1, 6))
def test_the_budget_holds_whatever_was_there(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], wanted: int, budget: int
) -> None:
    root = tmp_path_factory.mktemp("caches")
    for key, at in enumerate(order):
        add(root, str(key), 100.0 + at)
    each = size(root)
    keep = root / "rows" / "new"
    if wanted > budget:
        with pytest.raises(BudgetError):
            make_room(root, wanted * each, budget * each, keep=keep)
        return
    make_room(root, wanted * each, budget * each, keep=keep)
    left = list_caches(root)
    assert len(left) == min(5, budget - wanted)
    assert sum(e.num_bytes for e in left) + wanted * each <= budget * each
    assert {int(e.path.name) for e in left} == {
        k for k, at in enumerate(order) if at >= 5 - len(left)
    }


def test_two_that_reserve_at_once_do_not_spend_the_budget_twice(tmp_path: Path) -> None:
    outcomes: list[object] = []

    def take(key: str) -> None:
        try:
            outcomes.append(
                reserve(tmp_path, tmp_path / "rows" / key, need_bytes=600 * KIB,
                        budget_bytes=1000 * KIB, about={})[0]
            )  # fmt: skip
        except BudgetError as error:
            outcomes.append(error)

    both = [threading.Thread(target=take, args=(key,)) for key in ("a", "b")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    locks = [o for o in outcomes if isinstance(o, FileLock)]
    assert len(locks) == 1
    for lock in locks:
        lock.close()


def test_a_cache_removed_while_someone_opens_it_is_not_lost_on_them(tmp_path: Path) -> None:
    folder = add(tmp_path, "a", 100)
    stop, errors = threading.Event(), []

    def open_often() -> None:
        while not stop.is_set():
            try:
                lock = hold(folder)
                assert (folder / "use.lock").exists(), "held, and yet removed"
                lock.close()
            except Exception as error:  # noqa: BLE001 - a thread must tell
                errors.append(error)
                return

    opener = threading.Thread(target=open_often)
    opener.start()
    removed = sum(remove(entry) for _ in range(200) for entry in list_caches(tmp_path))
    stop.set()
    opener.join()
    assert errors == []
    assert removed > 0


def test_broken_and_half_made_caches_are_listed_and_can_go(tmp_path: Path) -> None:
    broken = add(tmp_path, "broken", 100)
    (broken / "meta.json").write_text("{")
    half = tmp_path / "shards" / "half"
    reserve(tmp_path, half, need_bytes=5000, budget_bytes=2**30, about={"dataset": "x"})[0].close()
    entries = {entry.path.name: entry for entry in list_caches(tmp_path)}
    assert not entries["broken"].complete
    assert not entries["half"].complete
    assert entries["half"].about == {"dataset": "x"}
    assert entries["half"].claimed_bytes >= 5000
    assert all(remove(entry) for entry in entries.values())
    assert list_caches(tmp_path) == []


def test_what_killed_removals_left_is_swept_and_never_listed(tmp_path: Path) -> None:
    folder = add(tmp_path, "a", 100)
    folder.rename(folder.with_name(".removed-a-1234"))
    assert list_caches(tmp_path) == []
    sweep(tmp_path)
    assert list((tmp_path / "rows").iterdir()) == []


def test_no_caches_is_an_empty_list(tmp_path: Path) -> None:
    assert list_caches(tmp_path / "nowhere") == []
