"""What an HDF5 file holds of each sample: in which datasets, of what type, and how they lie."""

from __future__ import annotations

import glob
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chirpid.data.general.columns import Leaf, leaf_of
from chirpid.data.general.trees import LEAF, Skeleton
from chirpid.errors import ConfigError, DataError, did_you_mean

Fields = Mapping[str, str] | Sequence[str] | str | None
FAILURES = (OSError, RuntimeError, ValueError, KeyError)
"""What h5py raises where a file is damaged."""
_DEFLATE, _SHUFFLE = 1, 2  # numbers of HDF5's own filters


@dataclass(frozen=True, slots=True)
class Field:
    """A dataset of a file, with a row for each sample."""

    name: str
    """Its path in the file."""
    leaf: Leaf
    num_rows: int
    chunk_rows: int
    """Rows that are stored together; 0 where all rows lie one after the other, as they are."""
    offset: int = 0
    """First byte in the file, where all rows lie one after the other."""
    is_plain: bool = False
    """Whether its chunks are whole rows, packed by `deflate` alone or after `shuffle`."""
    is_shuffled: bool = False

    @property
    def block_bytes(self) -> int:
        return max(1, self.chunk_rows) * self.leaf.row_bytes


def h5py() -> Any:
    """Return the library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise ConfigError(
            'HDF5 files need h5py, which is not installed: pip install "chirpid[hdf5]".'
        ) from error


def files_of(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the files that are meant, those of a pattern in the order of their names.

    Raises:
        DataError: there are none, or one is missing.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    for path in given:
        if Path(path).exists() or not glob.has_magic(str(path)):
            files.append(Path(path))
            continue
        found = sorted(glob.glob(str(path), recursive=True))
        if not found:
            raise DataError(f"No file is named like {path}.")
        files += map(Path, found)
    if not files:
        raise DataError("The list of HDF5 files is empty.")
    return files


def structure_of(fields: Fields, names: Sequence[str]) -> Skeleton:
    """Return the structure of a sample.

    Args:
        names: of the datasets, where `fields` names none.
    """
    if isinstance(fields, str):
        return LEAF
    if isinstance(fields, tuple):
        return Skeleton(list, (), (LEAF,) * len(fields))
    keys = tuple(fields) if isinstance(fields, Mapping) else tuple(n.strip("/") for n in names)
    return Skeleton(dict, keys, (LEAF,) * len(keys))


def names_of(fields: Fields) -> list[str] | None:
    """Return the datasets that are wanted, or None for all.

    Raises:
        ConfigError: an empty choice, or one that is no text.
    """
    if fields is None:
        return None
    names = [fields] if isinstance(fields, str) else fields
    found = list(names.values()) if isinstance(names, Mapping) else list(names)
    if not found or not all(isinstance(name, str) for name in found):
        raise ConfigError(
            f"fields={fields!r} names no datasets. Give a dict such as {{'x': '/images'}}, a list "
            "of names, a tuple of names for samples that are tuples, one name, or None for all."
        )
    return found


def look_into(path: Path, file: Any, names: Sequence[str] | None) -> list[Field]:
    """Return the datasets of an open file that make up its samples.

    Raises:
        DataError: one is missing, or no table of numbers; or they differ in length.
    """
    if names is None:
        names = all_names(path, file)
    fields = [_field(path, name, _dataset(path, file, name)) for name in names]
    if len({field.num_rows for field in fields}) > 1:
        lengths = ", ".join(f"{field.name} {field.num_rows}" for field in fields)
        raise DataError(
            f"{path}: the datasets differ in length: {lengths}. Name those that belong together "
            "with fields=."
        )
    return fields


def all_names(path: Path, file: Any) -> list[str]:
    """Return all datasets with rows, in the order of their names.

    Raises:
        DataError: there are none.
    """
    found: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py().Dataset) and item.shape:
            found.append(name)

    file.visititems(note)
    if not found:
        raise DataError(f"{path} holds no datasets with rows.")
    return sorted(found)


def _dataset(path: Path, file: Any, name: str) -> Any:
    item = file.get(name)
    if item is None:
        known = all_names(path, file)
        raise DataError(
            f"{path} has no dataset '{name}'.{did_you_mean(name.strip('/'), known)} "
            f"It has: {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}."
        )
    if not isinstance(item, h5py().Dataset) or not item.shape:
        raise DataError(f"{path}: '{name}' is no dataset with a row for each sample.")
    return item


def _field(path: Path, name: str, item: Any) -> Field:
    if h5py().check_string_dtype(item.dtype) or h5py().check_vlen_dtype(item.dtype):
        raise DataError(
            f"{path}: '{name}' holds texts or rows of different lengths, which make no batch. "
            "Leave it out with fields=, or write it as numbers of one shape."
        )
    native = item.dtype.newbyteorder("=")
    leaf = leaf_of(np.empty(item.shape[1:], native))
    if leaf is None:
        raise DataError(f"{path}: '{name}' is of type {item.dtype}, which torch has not.")
    num_rows, as_kept = int(item.shape[0]), item.dtype.isnative
    if item.chunks is None:
        offset = _offset(item) if as_kept and num_rows and leaf.row_bytes else None
        if offset is not None:
            return Field(name, leaf, num_rows, 0, offset)
        return Field(name, leaf, num_rows, _rows_at_once(leaf, num_rows))
    filters, whole_rows = _filters(item), tuple(item.chunks[1:]) == tuple(item.shape[1:])
    is_plain = as_kept and whole_rows and filters in ((_DEFLATE,), (_SHUFFLE, _DEFLATE))
    return Field(name, leaf, num_rows, int(item.chunks[0]), 0, is_plain, _SHUFFLE in filters)


def _offset(item: Any) -> int | None:
    """Return where rows begin in the file, if they lie there as they are."""
    if item.external or item.is_virtual:
        return None
    offset = item.id.get_offset()  # None where nothing was written, and all is the fill value
    return None if offset is None else int(offset)


def _rows_at_once(leaf: Leaf, num_rows: int) -> int:
    """Return the rows of a block where the file has no chunks of its own."""
    return max(1, min(num_rows, 2**18 // max(1, leaf.row_bytes)))


def _filters(item: Any) -> tuple[int, ...]:
    created = item.id.get_create_plist()
    return tuple(int(created.get_filter(at)[0]) for at in range(created.get_nfilters()))


def facts_of(path: Path) -> str:
    """Return what changes with the content of a file: its size and time."""
    found = os.stat(path)
    return f"{path.absolute()} {found.st_size} {found.st_mtime_ns}"
