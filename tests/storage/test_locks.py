"""Locks keep others out, end with their holder, and are not fooled by removed files."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from chirpid.errors import StorageError
from chirpid.storage.locks import FileLock, exclusive


def test_an_exclusive_lock_keeps_others_out_until_it_is_closed(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    assert one.acquire()
    assert not other.acquire(wait=False)
    assert not other.acquire(shared=True, wait=False)
    one.close()
    assert other.acquire(wait=False)
    other.close()
    other.close()


def test_readers_share_and_keep_writers_out(tmp_path: Path) -> None:
    readers = [FileLock(tmp_path / "l") for _ in range(3)]
    assert all(lock.acquire(shared=True, wait=False) for lock in readers)
    writer = FileLock(tmp_path / "l")
    assert not writer.acquire(wait=False)
    for lock in readers:
        lock.close()
    assert writer.acquire(wait=False)
    writer.close()


def test_a_lock_taken_on_a_removed_file_is_taken_anew_on_the_one_in_place(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    remover, waiter = FileLock(folder / "l"), FileLock(folder / "l")
    assert remover.acquire()
    waiting = threading.Thread(target=waiter.acquire)
    waiting.start()
    folder.rename(tmp_path / "gone")
    remover.close()
    waiting.join(timeout=30)
    assert not waiting.is_alive()
    late = FileLock(folder / "l")
    assert not late.acquire(wait=False), "the waiter holds the file that others open"
    waiter.close()
    assert late.acquire(wait=False)
    late.close()


def test_who_waits_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    with exclusive(tmp_path / "l", on_wait=lambda: told.append("free")):
        pass
    assert told == []
    holder, said = FileLock(tmp_path / "l"), threading.Event()
    holder.acquire()

    def wait() -> None:
        with exclusive(tmp_path / "l", on_wait=said.set):
            told.append("had")

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert said.wait(timeout=30)
    assert told == []
    holder.close()
    waiting.join(timeout=30)
    assert told == ["had"]


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write"):
        FileLock(tmp_path / "file" / "l")
