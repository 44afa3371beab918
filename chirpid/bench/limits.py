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


def rows_without_loader(maker: RowMaker, ids: Sequence[int], num_threads: int) -> Pass:
    """Return a pass of a single step: decode and front end of all ids, each thread into one row."""

    def run(seed: int) -> Iterator[object]:
        numbers = iter(ids)  # `next` of it holds the interpreter's lock: no id comes twice

        def work(_thread: int) -> None:
            row = torch.empty(maker.spec.shape, dtype=maker.spec.torch_dtype)
            for number in numbers:
                maker.make(number, row, {})

        for_each(work, range(num_threads), num_threads=num_threads)
        yield ()  # not None, which is the end of a pass

    return run
