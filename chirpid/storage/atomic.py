"""Files that are whole or absent: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chirpid.errors import StorageError

_ELSEWHERE = "Set paths.outputs to a folder of yours."


def storage_error(error: OSError, path: Path, *, instead: str = _ELSEWHERE) -> StorageError:
    """Return `error` as one line that says what to do about it.

    Args:
        instead: the sentence that says how to have it written elsewhere.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"Disk full while writing {path}. Free space, or set another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"Not allowed to write {path}. {instead}")
    return StorageError(f"Cannot write {path}: {error.strerror or error}. {instead}")


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can."""
    if os.name == "nt":
        return
    # Some network file systems refuse this for folders; the rename itself has been done.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def replacing(path: Path, *, instead: str = _ELSEWHERE) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its place when the block ends well.

    Args:
        instead: see `storage_error`.
    Raises:
        StorageError: disk full, not allowed, or another failure of the system.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path, instead=instead) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writers that were killed. Nobody may be writing in `folder`."""
    for temporary in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, instead: str = _ELSEWHERE) -> None:
    """Write `data` so that `path` holds all of it or what it held before."""
    with replacing(path, instead=instead) as handle:
        handle.write(data)


def write_text(path: Path, text: str, *, instead: str = _ELSEWHERE) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode(), instead=instead)
