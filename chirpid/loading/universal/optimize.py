"""A dataset that is made once and kept: `optimize_dataset`."""

from __future__ import annotations

import logging
import time
from typing import Any

from chirpid.data.general.adapt import is_columns, is_stream
from chirpid.data.general.look import Look, look_at
from chirpid.data.general.trees import leaves_of
from chirpid.data.wrap import CachedDataset, VectorizedDataset
from chirpid.data.wrap.budgets import Memory, bytes_of
from chirpid.errors import ConfigError, DataError
from chirpid.loading.factory import Say
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.planning import place_of
from chirpid.types import size_text

MOST_ROWS, CHUNK_BYTES = 256, 2**22
"""Samples that are made at once: fewer, if they come to so many bytes."""


def optimize_dataset(
    dataset: Any,
    preload: bool = True,
    *,
    max_memory_usage: Memory | None = None,
    num_workers: int | None = None,
    say: Say | None = None,
) -> Any:
    """Return a dataset of the same samples, kept in memory: batches of it are copies of rows.

    It serves any loader, that of torch, too. What would go wrong is left as it is, in a line that
    says why: samples that draw random numbers, which would be frozen.

    Args:
        dataset: one whose samples have numbers: a map dataset, columns, a list.
        preload: make all samples now, by as many workers as help; else each when it is first
            asked for.
        max_memory_usage: bytes, a text such as "2 GiB", or a share of the free memory; None for
            three quarters of it. Of a larger set, the samples that are asked for first are kept.
        num_workers: processes or threads to make samples with; None for what suits the machine.
        say: told what was done, in a line; None logs it.

    Raises:
        ConfigError: it is a stream.
        DataError: there are no samples, or one cannot be made.
    """
    say = say or logging.getLogger("chirpid").warning
    if is_stream(dataset):
        raise ConfigError("A stream cannot be kept as it comes. Collect its samples in a list.")
    if is_columns(dataset):
        return VectorizedDataset(dataset)
    if isinstance(dataset, VectorizedDataset | CachedDataset):
        return dataset
    look = look_at(dataset)
    if look.draws:
        say("optimize_dataset keeps nothing: its samples draw random numbers, which would be the "
            "same for ever. Draw them after loading, and keep what comes before.")  # fmt: skip
        return dataset
    budget = place_of("auto", "cpu").budget_bytes
    most = budget if max_memory_usage is None else bytes_of(max_memory_usage)
    need = look.sample_bytes * len(dataset)
    if preload and look.layout is not None and need <= most:
        try:
            return _kept(dataset, look, num_workers, say)
        except DataError as error:
            say(f"optimize_dataset keeps samples one by one: {error}")
    elif preload and look.layout is not None:
        say(f"optimize_dataset keeps {size_text(most)} of {size_text(need)}, the samples asked "
            "for first")  # fmt: skip
    # In shuffled epochs those that stay are found again; the last used are rarely asked for soon.
    return CachedDataset(dataset, max_memory_usage=most, policy="first")


def _kept(dataset: Any, look: Look, num_workers: int | None, say: Say) -> VectorizedDataset:
    """Return all samples as columns.

    Raises:
        DataError: samples are not alike, though those looked at were.
    """
    assert look.layout is not None
    begin, at = time.perf_counter(), 0
    columns = look.layout.empty(len(dataset))
    num_rows = max(1, min(MOST_ROWS, CHUNK_BYTES // max(1, look.sample_bytes)))
    with make_loader(dataset, num_rows, shuffle=False, num_workers=num_workers, say=say) as loader:
        for batch in loader:
            leaves = leaves_of(batch)
            for column, rows in zip(columns.tensors, leaves, strict=True):
                column[at : at + len(rows)] = rows
            at += len(leaves[0])
    seconds = time.perf_counter() - begin
    say(f"optimize_dataset keeps {at:,} samples in {size_text(columns.nbytes)}, "
        f"made in {seconds:.1f} s")  # fmt: skip
    return VectorizedDataset(columns)
