"""Which images a dataset has: from class folders, from a table, or as given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chirpid.data.general.bad_items import BadItem
from chirpid.data.general.class_numbers import in_order, number_labels
from chirpid.data.general.file_names import DatasetNotFoundError, find_files
from chirpid.data.images.files import IMAGE_SUFFIXES
from chirpid.data.labels import counted, tidy
from chirpid.data.places import Finder
from chirpid.data.tables import ROW, Table, read_table
from chirpid.errors import DataError
from chirpid.types import IntArray


@dataclass(slots=True)
class ImageList:
    """Images with what is known of them, one entry each."""

    root: str
    names: list[str]
    """Posix paths relative to `root`."""
    labels: list[Any] | None = None
    groups: list[str] | None = None
    classes: tuple[str, ...] | None = None
    """Names that folders give the classes; None where only the labels tell."""
    bad: tuple[BadItem, ...] = ()
    """What could not become an entry."""
    notes: tuple[str, ...] = ()

    def without(self, places: set[int]) -> ImageList:
        """Return the list without some entries."""
        kept = [place for place in range(len(self.names)) if place not in places]

        def some(values: list[Any] | None) -> list[Any] | None:
            return None if values is None else [values[place] for place in kept]

        return ImageList(
            self.root, some(self.names) or [], some(self.labels), some(self.groups),
            self.classes, self.bad, self.notes,
        )  # fmt: skip


def from_folder(root: Path) -> ImageList:
    """Return the images of `root/<class>/**/<image>`, or those of a folder without classes.

    Raises:
        DatasetNotFoundError: no such folder, or no image in it.
        DataError: images lie beside class folders.
    """
    found = find_files(root, IMAGE_SUFFIXES, "images")
    names, bad = _readable_names(found.names)
    inside = [name for name in names if "/" in name]
    if inside and len(inside) < len(names):
        loose = [name for name in names if "/" not in name]
        raise DataError(
            f"{counted(len(loose), 'image')} of {root} lie in no class folder, such as {loose[0]}, "
            f"and {len(inside)} do. Sort all into folders root/<class>/, or give a table."
        )
    notes: tuple[str, ...] = ()
    if found.others:
        some = counted(len(found.others), "file")
        notes = (f"Passed over as no images: {some}, such as {found.others[0]}.",)
    folders = (name.split("/")[0] for name in inside)
    labels: list[Any] | None = [tidy(folder) or folder for folder in folders] or None
    classes = in_order(labels) if labels else None
    return ImageList(str(root), names, labels, None, classes, tuple(bad), notes)


def from_table(table: pd.DataFrame | str | Path, root: Path | None) -> ImageList:
    """Return the images that the column `filename` of a table names, relative to `root`.

    Columns `label` and `group` are taken where there are any. Without `root`, names are relative
    to the folder of the table's file.

    Raises:
        DatasetNotFoundError: no such file.
        DataError: no column `filename`, or no `root` beside a data frame.
    """
    read = _table_of(table)
    if root is None:
        if isinstance(table, pd.DataFrame):
            raise DataError("A data frame of images needs root, the folder its names start from.")
        root = Path(table).absolute().parent
    if not root.is_dir():
        raise DatasetNotFoundError("images", str(root), "no such folder", "Set root")
    read.require("filename", "of the images")
    rows = _Rows(str(root.absolute()), read)
    has = [column for column in ("label", "group") if column in read.frame]
    columns = {column: read.frame[column].tolist() for column in ("filename", *has)}
    for place, row in enumerate(read.frame[ROW]):
        rows.add(int(row), **{column: cells[place] for column, cells in columns.items()})
    return rows.result("label" in has, "group" in has)


def from_paths(
    paths: Sequence[str | os.PathLike[str]],
    labels: Sequence[Any] | None,
    groups: Sequence[str] | None,
    root: Path | None,
) -> ImageList:
    """Return the images of these paths, relative to `root` or to the working folder.

    Raises:
        DataError: no path, or another number of labels or groups.
    """
    names = [os.fspath(path) for path in paths]
    if not names:
        raise DataError("paths is empty: there is no image to load.")
    for what, values in (("labels", labels), ("groups", groups)):
        if values is not None and len(values) != len(names):
            raise DataError(
                f"There are {counted(len(names), 'path')} and {len(values)} {what}. Give one each."
            )
    listed = ImageList(
        str((root or Path()).absolute()), names,
        None if labels is None else _plain(labels),
        None if groups is None else [str(group) for group in _plain(groups)],
    )  # fmt: skip
    _, bad = _readable_names(names)
    unreadable = {item.name for item in bad}
    kept = listed.without({place for place, name in enumerate(names) if ascii(name) in unreadable})
    kept.bad = tuple(bad)
    return kept


def number_groups(groups: list[str] | None) -> tuple[IntArray | None, tuple[str, ...]]:
    """Return the number of each group, int64 [N], and the names by number."""
    if groups is None:
        return None, ()
    numbered = number_labels([f"{group}" for group in groups], sorted(set(groups)))
    return numbered.ids, numbered.classes


class _Rows:
    """Collects the rows of a table, and what is wrong with some."""

    def __init__(self, root: str, table: Table) -> None:
        self.root, self.table, self.finder = root, table, Finder(Path(root))
        self.names: list[str] = []
        self.labels: list[Any] = []
        self.groups: list[str] = []
        self.bad: list[BadItem] = []

    def add(self, row: int, filename: Any, label: Any = None, group: Any = None) -> None:
        name, reason = self.finder.find(str(filename))
        if label is not None and _is_missing(label):
            reason = reason or "has no label"
        if reason:
            reason = reason.replace("dataset.root=", "root=")
            self.bad.append(BadItem(name, f"{reason} (row {row} of {self.table.name})"))
            return
        self.names.append(name)
        self.labels.append(label)
        # An image without a group is in one of its own: it is like no other.
        self.groups.append(name if _is_missing(group) else str(group))

    def result(self, has_labels: bool, has_groups: bool) -> ImageList:
        return ImageList(
            self.root, self.names, self.labels if has_labels else None,
            self.groups if has_groups else None, None, tuple(self.bad), self.table.notes,
        )  # fmt: skip


def _table_of(table: pd.DataFrame | str | Path) -> Table:
    if not isinstance(table, pd.DataFrame):
        path = Path(table).expanduser()
        if not path.is_file():
            raise DatasetNotFoundError(
                "table", str(path.absolute()), "no such file", "Give the path of a CSV file"
            )
        return read_table(path)
    frame = table.reset_index(drop=True)
    return Table("the data frame", frame.assign(**{ROW: np.arange(len(frame))}))


def _is_missing(cell: Any) -> bool:
    return (not isinstance(cell, str) and bool(pd.isna(cell))) or not tidy(str(cell))


def _plain(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _readable_names(names: list[str]) -> tuple[list[str], list[BadItem]]:
    """Return the names that can be written as UTF-8, and the others as bad items."""
    good, bad = [], []
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            bad.append(BadItem(ascii(name), "has a name that is not valid UTF-8. Rename it"))
        else:
            good.append(name)
    return good, bad
