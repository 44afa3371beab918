"""The memory that passes take: its peak, and the tensors that they make. Never on the clock."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from chirpid.bench.footprint import MIB, own_bytes
from chirpid.bench.timing import Figures, Pass
from chirpid.native.heap import kept_memory

EPOCHS = 2
"""What keeps samples has them all after the first, and hands them out in the second."""
Opening = Callable[[], AbstractContextManager[Pass]]
"""Begins with nothing kept."""


def peaks(ways: Mapping[str, Opening], seeds: Sequence[int]) -> dict[str, Figures]:
    """Return the peak of own memory that each way takes, the median over turns.

    Each begins anew in each turn, and goes through two epochs.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    gc.freeze()  # all that is there by now need not be looked through for each
    try:
        for seed in seeds:
            for name, opening in ways.items():
                found[name].append(peak_own_mib(_epochs(opening, seed)))
    finally:
        gc.unfreeze()
    return {name: {"peak_own_mib": float(np.median(mib))} for name, mib in found.items()}


def _epochs(opening: Opening, seed: int) -> Iterator[object]:
    with opening() as run:
        for epoch in range(EPOCHS):
            yield from run(seed + epoch)


def peak_own_mib(batches: Iterable[object]) -> float:
    """Return the most own memory beside a batch, above what there was before the first, in MiB."""
    gc.collect()
    with kept_memory():
        pass  # leaving it gives back what is free: else it would be used again, and not be seen
    before = peak = own_bytes()
    for _ in batches:
        peak = max(peak, own_bytes())
    return (peak - before) / MIB


def new_tensors_kib(batches: Iterator[object]) -> float:
    """Return the KiB of tensors that torch makes for a batch, views left out, on average."""
    made = _NewTensors()
    with made:
        num_batches = sum(1 for _ in batches)
    return made.num_bytes / 1024 / num_batches


class _NewTensors(TorchFunctionMode):
    """Counts the bytes of what is in memory of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {
            t.untyped_storage().data_ptr() for t in _tensors([*args, *(kwargs or {}).values()])
        }
        for tensor in _tensors([result]):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in given:
                self.num_bytes += storage.nbytes()
        return result


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
