"""How the rows of a store lie in its files, and whether what is there is of that kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chirpid.storage.atomic import write_text

VERSION = 1

MakeRows = Callable[[int, int, Tensor], None]
"""Called with (first row, end row, kept rows [n, *shape] to fill)."""


@dataclass(frozen=True, slots=True)
class RowLayout:
    """How the rows of a store lie in its file."""

    num_rows: int
    shape: tuple[int, ...]
    dtype: str
    """Name of a torch number type, such as "float16"."""
    chunk_rows: int
    version: int = VERSION

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype = getattr(torch, self.dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.torch_dtype.itemsize

    @property
    def num_bytes(self) -> int:
        return self.num_rows * self.row_bytes

    @property
    def num_chunks(self) -> int:
        return -(-self.num_rows // self.chunk_rows)

    def span(self, chunk: int) -> tuple[int, int]:
        """Return (first row, end row) of a chunk."""
        first = chunk * self.chunk_rows
        return first, min(first + self.chunk_rows, self.num_rows)


def is_of(found: object, layout: RowLayout) -> bool:
    """Return whether the content of a store's file says that it is of this layout."""
    wanted = json.loads(json.dumps(asdict(layout)))
    return isinstance(found, dict) and found.get("layout") == wanted


def start_anew_unless(
    folder: Path, layout: RowLayout, *, patterns: tuple[str, ...], whole: str
) -> None:
    """Drop what `folder` holds of another layout; its chunks would pass for those of this one.

    Args:
        patterns: the files that hold rows.
        whole: the file that only a whole store has.
    """
    plan = folder / "layout.json"
    try:
        same = is_of(json.loads(plan.read_text()), layout)
    except (OSError, ValueError):
        same = False
    if same:
        return
    (folder / whole).unlink(missing_ok=True)
    for pattern in patterns:
        for file in folder.glob(pattern):
            # Removed, not emptied: a process may still have the old rows mapped.
            file.unlink(missing_ok=True)
    write_text(plan, json.dumps({"layout": asdict(layout)}, indent=1))


def read_layout(folder: Path, whole: str = "meta.json") -> RowLayout | None:
    """Return the layout of a whole store, or None.

    Args:
        whole: the file that only a whole store has.
    """
    try:
        fields = json.loads((folder / whole).read_text())["layout"]
        return RowLayout(**{**fields, "shape": tuple(fields["shape"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
