"""Files are whole or absent, and faults of the disk are one line."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from chirpid.errors import StorageError
from chirpid.storage.atomic import remove_leftovers, replacing, storage_error, write_text


@pytest.fixture
def small_files_only() -> Iterator[int]:
    """Let this process write no file larger than 64 KiB, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield 65536
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failed_write_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, small_files_only: int
) -> None:
    path = tmp_path / "results.json"
    write_text(path, "before")
    with pytest.raises(StorageError) as caught:
        write_text(path, "x" * (small_files_only + 1))
    assert "\n" not in caught.value.line()
    assert str(path) in caught.value.line()
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_an_error_in_the_block_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    write_text(path, "before")

    def fail() -> None:
        with replacing(path) as handle:
            handle.write(b"half of it")
            raise KeyError("something else")

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "ärgerlich 🐦.txt", "Zaunkönig")
    assert (tmp_path / "a" / "b" / "ärgerlich 🐦.txt").read_text(encoding="utf-8") == "Zaunkönig"


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        write_text(tmp_path / "file" / "below", "")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "Disk full while writing .*Free space"),
        (errno.EDQUOT, "Disk full"),
        (errno.EACCES, "Not allowed to write .*paths.outputs"),
        (errno.EROFS, "Not allowed"),
        (errno.EIO, "Cannot write"),
    ],
)
def test_faults_say_what_to_do(number: int, says: str) -> None:
    error = storage_error(OSError(number, "strange"), Path("there"))
    with pytest.raises(StorageError, match=says):
        raise error


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    names = (".shard-00001.bin.77.abcd.tmp", "shard-00000.bin", ".hidden", "kept.tmp")
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(names[1:])
