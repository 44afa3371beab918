"""What no loader can beat: copying the same bytes, and decoding without handing anything over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from chirpid.bench.timing import Pass
from chirpid.data.rows import RowMaker
from chirpid.storage.parallel import for_each

LIMIT = "limit"
_MOST_PIECE = 16


def copies(source: Tensor, batch_size: int) -> Pass:
    """Return a pass that copies float32 rows in order into two batches in turn.

    Two, because a batch stays with the caller while the next is made: into a single one, which
    stays in the cache, copying would be faster than any loader can be.
    """
    parts = torch.split(source, batch_size)
    targets = [torch.zeros_like(parts[0]) for _ in range(2)]
    slots = [targets[turn % 2][: len(part)] for turn, part in enumerate(parts)]

    def run(seed: int) -> Iterator[object]:
        for slot, part in zip(slots, parts, strict=True):
            yield slot.copy_(part)

    return run


def copies_on_one_thread(source: Tensor, batch_size: int) -> Pass:
    """Return `copies` by the calling thread alone, with numpy, which spends least on a call."""
    parts = [part.numpy() for part in torch.split(source, batch_size)]
    targets = [np.zeros_like(parts[0]) for _ in range(2)]
    slots = [targets[turn % 2][: len(part)] for turn, part in enumerate(parts)]

    def run(seed: int) -> Iterator[object]:
        for slot, part in zip(slots, parts, strict=True):
            np.copyto(slot, part)
            yield slot

    return run


def rows_without_loader(
    maker: RowMaker, ids: Sequence[int], num_threads: int, *, batch_size: int
) -> Pass:
    """Return a pass of a single step: decode and front end of all ids, on threads of their own.

    Each writes into two batches in turn: in a single row, which stays in the cache, it would be
    faster than anything that hands batches over can be.
    """
    buffers = [torch.zeros(2 * batch_size, *maker.spec.shape) for _ in range(num_threads)]
    most = min(_MOST_PIECE, batch_size)

    def run(seed: int) -> Iterator[object]:
        pieces = iter(list(_pieces(ids, num_threads, most)))  # no piece comes twice from `next`

        def work(thread: int) -> None:
            rows, at = buffers[thread], 0
            for piece in pieces:
                at = 0 if at + len(piece) > len(rows) else at
                maker.make_batch(piece, rows[at : at + len(piece)], {})
                at += len(piece)

        for_each(work, range(num_threads), num_threads=num_threads)
        yield ()  # not None, which is the end of a pass

    return run


def _pieces(ids: Sequence[int], num_threads: int, most: int) -> Iterator[Sequence[int]]:
    """Yield runs of `ids` that become shorter at the end, so that no thread is left working."""
    begin = 0
    while begin < len(ids):
        size = max(1, min(most, (len(ids) - begin) // (4 * num_threads)))
        yield ids[begin : begin + size]
        begin += size
