"""Some rows of bytes copied to some places: in one call, by the calling thread alone."""

from __future__ import annotations

import torch
from torch import Tensor

from chirpid import native
from chirpid.data.datasets.base import as_ids
from chirpid.native.gather import RowGather
from chirpid.types import IntArray

_WORD_BYTES = 4


def copy_rows(
    rows: Tensor, out: Tensor, ids: IntArray | None = None, places: IntArray | None = None
) -> None:
    """Write row `ids[i]` into row `places[i]` of `out`.

    Not by torch, whose threads would be started for each block of a batch.

    Args:
        rows, out: uint8 [n, k] and [m, k], contiguous.
        ids: all rows in their order if not given.
        places: the first ones if not given.
    """
    row_bytes = rows.shape[1]
    aligned = not (row_bytes | rows.data_ptr() | out.data_ptr()) % _WORD_BYTES
    if ids is not None and row_bytes and aligned and native.handle() is not None:
        # Words of 4 bytes are float32 to the library, which copies those as they are.
        words = row_bytes // _WORD_BYTES
        gather = RowGather(rows.data_ptr(), num_rows=len(rows), row_numbers=words, kind="float32")
        where = None if places is None else as_ids(places)
        gather.into(as_ids(ids), out.data_ptr(), len(out), places=where)
        return
    picked = rows.numpy() if ids is None else rows.numpy()[ids]
    out.numpy()[slice(len(picked)) if places is None else places] = picked


def as_bytes(column: Tensor, row_bytes: int) -> Tensor:
    """Return a contiguous column as uint8 [n, row_bytes], in its memory."""
    # A single row is contiguous whatever its strides are, and torch's view minds them.
    flat = column.as_strided((column.numel(),), (1,))
    return flat.view(torch.uint8).view(len(column), row_bytes)
