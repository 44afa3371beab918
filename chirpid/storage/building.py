"""Build a store once, whoever asks for it: one process builds, the others wait for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chirpid.storage.atomic import remove_leftovers, storage_error
from chirpid.storage.locks import exclusive


def build_once(
    folder: Path,
    *,
    is_whole: Callable[[], bool],
    work: Callable[[], None],
    say: Callable[[str], None] | None = None,
) -> None:
    """Call `work` in `folder` unless the store there is whole.

    A process that is building it already is waited for, and then has left nothing to do, or, if
    it was killed, the rest.

    Args:
        say: told when another process is building.
    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    if is_whole():
        return

    def waiting() -> None:
        if say:
            say(f"another process is building the cache {folder.name}; waiting for it")

    try:
        with exclusive(folder / "build.lock", on_wait=waiting):
            if not is_whole():
                remove_leftovers(folder)
                work()
    except OSError as error:
        raise storage_error(error, folder) from error
