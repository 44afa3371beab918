"""What a store of samples says about itself: `head.json`, and the files of rows beside it."""

from __future__ import annotations

import functools
import json
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from chirpid.data.general.columns import Layout, Leaf
from chirpid.data.general.trees import LEAF, Skeleton
from chirpid.data.tensors.packing import Packing
from chirpid.errors import ConfigError, StorageError
from chirpid.storage.layout import RowLayout
from chirpid.storage.rowstore import is_complete
from chirpid.types import size_text

FORMAT = 1
"""Raised whenever stores written before can no longer be read."""
NAME = "head.json"
CHUNK_BYTES = 2**21
"""What is written, checked and streamed at a time: large beside a disk's seek, small beside RAM."""
_KEYS = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Head:
    """What a store holds.

    Args:
        fingerprint: of what it was made from.
        chunk_rows: samples that are written and checked together.
    """

    layout: Layout
    num_rows: int
    fingerprint: str
    chunk_rows: int

    @classmethod
    def of(cls, layout: Layout, num_rows: int, fingerprint: str) -> Head:
        """Return the head of a store that is to be written."""
        row_bytes = max(1, Packing(layout).row_bytes)
        chunk_rows = max(1, min(CHUNK_BYTES // row_bytes, num_rows))
        return cls(layout, num_rows, fingerprint, chunk_rows)

    @property
    def packing(self) -> Packing:
        return Packing(self.layout)

    @property
    def rows(self) -> RowLayout:
        """How its rows of bytes lie in their file."""
        return RowLayout(self.num_rows, (self.packing.row_bytes,), "uint8", self.chunk_rows)

    def text(self) -> str:
        """Return it as JSON, in which keys and leaves stand in the order of the samples.

        Raises:
            ConfigError: a key of the samples is neither text nor number.
        """
        named = zip(self.layout.names(), self.layout.leaves, self.packing.offsets, strict=True)
        leaves = [
            {"name": name, "dtype": str(leaf.dtype).removeprefix("torch."),
             "shape": list(leaf.shape), "first_byte": offset}
            for name, leaf, offset in named
        ]  # fmt: skip
        found = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "num_rows": self.num_rows,
            "chunk_rows": self.chunk_rows,
            "row_bytes": self.packing.row_bytes,
            "leaves": leaves,
            "structure": _written(self.layout.skeleton),
        }
        return json.dumps(found, indent=1)


def read_head(folder: Path) -> Head | None:
    """Return the head of a store, or None where there is none that this version can read."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            return None
        leaves = tuple(_leaf(leaf) for leaf in found["leaves"])
        layout = Layout(leaves, _read(found["structure"]))
        return Head(layout, found["num_rows"], found["fingerprint"], found["chunk_rows"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _leaf(written: Any) -> Leaf:
    dtype = getattr(torch, written["dtype"])
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{written['dtype']} is no type of numbers")
    return Leaf(dtype, tuple(written["shape"]))


def open_head(folder: Path) -> Head:
    """Return the head of a whole store.

    Raises:
        StorageError: there is none, it is not whole, or its file of rows was cut.
    """
    head = read_head(folder)
    if head is None:
        raise StorageError(
            f"{folder} holds no store of samples that can be read: {NAME} is missing, damaged or "
            "of another format. Write one with TensorStore.write."
        )
    if is_complete(folder, head.rows):
        return head
    file = folder / "rows.bin"
    size, need = file.stat().st_size if file.exists() else 0, head.rows.num_bytes
    if size != need and (folder / "meta.json").exists():
        raise StorageError(
            f"{file} has {size} of {need} bytes: it was cut, or is of another store. Remove "
            f"{folder} and write it again."
        )
    raise StorageError(
        f"{folder} is not a whole store, of {size_text(need)}: its writing was stopped. Write it "
        "again; what is done is kept."
    )


def fitting(layout: Layout | None, head: Head, folder: Path) -> Head:
    """Return a head with a layout of the user's own types.

    Raises:
        StorageError: the store is of another layout.
    """
    if layout is None:
        return head
    given = replace(head, layout=layout)
    if given.text() != head.text():
        raise StorageError(
            f"{folder} holds samples of another layout: {_told(head.layout)}; asked for are "
            f"{_told(layout)}."
        )
    return given


def _told(layout: Layout) -> str:
    named = zip(layout.names(), layout.leaves, strict=True)
    return ", ".join(
        f"{name or 'a sample'} {str(leaf.dtype).removeprefix('torch.')} {list(leaf.shape)}"
        for name, leaf in named
    )


def _written(skeleton: Skeleton) -> Any:
    """Return a structure for JSON: null for a leaf, a table for what holds others."""
    if skeleton.kind is None:
        return None
    found: dict[str, Any] = {"parts": [_written(part) for part in skeleton.parts]}
    if issubclass(skeleton.kind, Mapping):
        for key in skeleton.keys:
            if not isinstance(key, _KEYS):
                raise ConfigError(
                    f"The key {key!r} of a sample cannot be kept on the disk: it is "
                    f"{type(key).__name__}. Use texts or numbers as keys."
                )
        return {"kind": "mapping", "keys": list(skeleton.keys), **found}
    if skeleton.kind is list:
        return {"kind": "list", **found}
    names = list(getattr(skeleton.kind, "_fields", ()))
    return {"kind": "named tuple", "name": skeleton.kind.__name__, "fields": names, **found}


def _read(written: Any) -> Skeleton:
    """Return the structure that was written.

    Types of the writer's own are not looked up, since what a file names is not to be imported: a
    mapping comes back as a dict, a named tuple as one of that name and those fields.
    """
    if written is None:
        return LEAF
    parts = tuple(_read(part) for part in written["parts"])
    if written["kind"] == "mapping":
        return Skeleton(dict, tuple(written["keys"]), parts)
    if written["kind"] == "list":
        return Skeleton(list, (), parts)
    return Skeleton(_named_tuple(written["name"], tuple(written["fields"])), (), parts)


@functools.cache  # one type for a name and its fields, so that layouts of two stores agree
def _named_tuple(name: str, fields: tuple[str, ...]) -> type:
    return namedtuple(name, fields)
