"""Samples put into rows of columns, and whole datasets."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from chirpid.data.general.columns import Columns, Layout, layout_of, leaf_of
from chirpid.data.general.fill import fill
from chirpid.data.general.protocols import BatchReader, MapDataset, getitems
from chirpid.data.general.trees import Tree, leaves_of, skeleton_of
from chirpid.data.wrap.budgets import Memory, bytes_of
from chirpid.data.wrap.probes import look_at
from chirpid.data.wrap.tables import builder
from chirpid.errors import BudgetError, DataError
from chirpid.storage.parallel import for_each
from chirpid.types import size_text

CHUNK_BYTES = 2**20
MOST_ROWS = 256
"""Rows that are asked for at once while a dataset is read: fewer, if they come to `CHUNK_BYTES`."""


def columns_from(
    dataset: MapDataset,
    *,
    num_threads: int | None = None,
    max_memory: Memory | None = None,
    freeze: bool = False,
) -> Tree:
    """Return all samples of a dataset as columns, in the structure of a sample.

    Raises:
        ConfigError: samples draw random numbers, and `freeze` is not set.
        DataError: samples differ in structure, type or shape, or hold what is no number.
        BudgetError: the columns would be larger than `max_memory`.
    """
    num_rows = len(dataset)
    layout, build = form_of(dataset)
    num_bytes = num_rows * layout.batch_row_bytes
    if max_memory is not None and num_bytes > bytes_of(max_memory):
        raise BudgetError(
            f"{num_rows} samples take {size_text(num_bytes)}, max_memory_usage={max_memory} allows "
            f"{size_text(bytes_of(max_memory))}. Raise it, or keep some with CachedDataset."
        )
    if not freeze:
        look_at(dataset, may_draw=False)
    columns = layout.empty(num_rows)
    step = max(1, min(MOST_ROWS, CHUNK_BYTES // max(1, layout.batch_row_bytes)))
    read = partial(_read_rows, dataset, layout, columns)
    parts = [range(at, min(at + step, num_rows)) for at in range(0, num_rows, step)]
    if num_threads is None:
        num_threads = torch.get_num_threads() if getattr(dataset, "thread_safe", False) else 1
    if num_threads > 1:
        for_each(read, parts, num_threads=num_threads)
    else:
        for part in parts:
            read(part)
    return build(columns.tensors)


def form_of(dataset: Any) -> tuple[Layout, Any]:
    """Return what each sample is, and what makes one from its leaves.

    Raises:
        DataError: there is no sample, or it holds what is no number.
    """
    if isinstance(dataset, BatchReader):
        return dataset.layout, dataset.layout.skeleton.rebuild
    if not len(dataset):
        raise DataError("The dataset has no samples. Check what it is made from.")
    sample = dataset[0]
    layout = layout_of([sample])
    if layout is None:
        raise DataError(f"Sample 0 has leaves that are no numbers: {no_numbers(sample)}. "
                        "Convert them, or leave them out.")  # fmt: skip
    return layout, builder(sample)


def no_numbers(sample: Tree) -> str:
    """Return which leaves of a sample are no numbers, for messages."""
    named = zip(skeleton_of(sample).names(), leaves_of(sample), strict=True)
    bad = [
        f"{name or 'it'} is {type(leaf).__name__}" for name, leaf in named if leaf_of(leaf) is None
    ]
    return ", ".join(bad) or "it is empty"


def _read_rows(dataset: Any, layout: Layout, columns: Columns, rows: range) -> None:
    part = columns[rows.start : rows.stop]
    if isinstance(dataset, BatchReader):
        dataset.read_into(np.arange(rows.start, rows.stop), part)
    else:
        fill(getitems(dataset, rows), layout, part, rows)
