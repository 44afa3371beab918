"""Find the files of a dataset below a folder, and say in plain words when there is nothing."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from chirpid.data.labels import counted
from chirpid.data.places import is_hidden
from chirpid.errors import DataError


class DatasetNotFoundError(DataError):
    """There is no dataset where it was looked for."""

    def __init__(self, what: str, where: str, found: str, todo: str) -> None:
        super().__init__(f"No {what} in {where}: {found}. {todo}.")


@dataclass(slots=True)
class FoundFiles:
    """What lies below a folder, as posix paths relative to it."""

    names: list[str] = field(default_factory=list)
    """Files with a wanted ending, sorted."""
    others: list[str] = field(default_factory=list)
    """Other files; hidden ones are in neither list."""


def find_files(root: Path, suffixes: Collection[str], what: str) -> FoundFiles:
    """Return the files below `root`, by whether they end in one of `suffixes` (in any case).

    Links to folders are followed, but never in a ring. A link that leads nowhere counts as a file,
    so that whoever opens the files names it.

    Raises:
        DatasetNotFoundError: `root` is no folder, or holds no such file.
        DataError: a folder below it may not be listed.
    """
    found = FoundFiles()
    if not root.is_dir():
        state = "that is a file" if root.exists() else _nearest(root)
        raise DatasetNotFoundError(what, str(root), state, "Give the path of their folder")
    _list_into(found, str(root), "", frozenset(suffixes), set())
    if not found.names:
        there = "it holds no file"
        if found.others:
            there = (
                f"it holds others ({counted(len(found.others), 'file')}), {found.others[0]} first"
            )
        raise DatasetNotFoundError(
            what,
            str(root),
            there,
            f"Files that end in {', '.join(sorted(suffixes))} are looked for, in all folders below",
        )
    found.names.sort()
    return found


def _list_into(
    found: FoundFiles, folder: str, prefix: str, suffixes: frozenset[str], seen: set[str]
) -> None:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"Cannot list the folder {folder}: {error.strerror or error}.") from error
    for entry in entries:
        name = prefix + entry.name
        if is_hidden(entry.name):
            continue
        if entry.is_dir():
            _list_into(found, entry.path, f"{name}/", suffixes, seen)
        else:
            wanted = os.path.splitext(entry.name)[1].lower() in suffixes
            (found.names if wanted else found.others).append(name)


def _nearest(root: Path) -> str:
    near = next((parent for parent in root.absolute().parents if parent.is_dir()), root)
    return f"it does not exist; there is {near}"
