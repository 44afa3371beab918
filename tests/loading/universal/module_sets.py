"""Datasets of the tests of data modules, and the numbers of the samples in their batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import (
    Dataset,
    IterableDataset,
)

NUM = 20
IDS = torch.arange(NUM)


class Items(Dataset[Any]):
    """A map dataset that makes each sample."""

    def __len__(self) -> int:
        return NUM

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"id": index, "parity": "odd" if index % 2 else "even"}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(range(NUM))


def ids_of(batches: Any) -> list[int]:
    """Return the numbers of the samples, whatever structure they came in."""
    found: list[int] = []
    for batch in batches:
        while not isinstance(batch, torch.Tensor):
            batch = batch["id"] if isinstance(batch, dict) else batch[0]
        found += batch.tolist()
    return found
