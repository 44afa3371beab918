"""Datasets that tests keep, and batches of them."""

from __future__ import annotations

import time
from collections import namedtuple
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from chirpid.data.general.columns import Columns, Layout, Leaf
from chirpid.data.general.trees import LEAF, Skeleton, leaves_of

Box = namedtuple("Box", "x y")
NUM_ROWS = 300


class Mixed:
    """Samples with leaves of many types, in a structure of all kinds."""

    def __init__(self, num_rows: int = NUM_ROWS) -> None:
        self.values = torch.randn(num_rows, 3, 5, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, Any]:
        value = self.values[index]
        return {
            "value": value,
            "number": index,
            "parts": (value.to(torch.bfloat16), index % 3 == 0, value[0].numpy().astype("f2")),
            "box": Box(np.int32(index), torch.complex(value[1], value[2]).to(torch.complex128)),
        }

    def fingerprint(self) -> str:
        return f"mixed {len(self)}"


class Slow:
    """Samples of 512 KiB, four to a chunk of a store, that take a while."""

    def __init__(self, log: Path | None = None, pause_s: float = 0.004) -> None:
        self.log, self.pause_s = log, pause_s

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(self.pause_s)
        if self.log is not None:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"{index}\n")
        return torch.full((2**17,), float(index))

    def fingerprint(self) -> str:
        return "slow"


def batch_of(dataset: Any, ids: Any) -> Columns:
    """Return samples as a batch."""
    ids = np.asarray(ids, dtype=np.int64)
    batch: Columns = dataset.layout.empty(len(ids))
    dataset.read_into(ids, batch)
    return batch


def collated(ids: Iterable[int]) -> Any:
    """Return samples of `Mixed` as torch collates them."""
    dataset = Mixed()
    return default_collate([dataset[i] for i in ids])


def same_bits(batch: Any, other: Any) -> bool:
    """Return whether two batches have the same leaves, bit for bit."""
    pairs = list(zip(leaves_of(batch), leaves_of(other), strict=True))
    return all(a.dtype == b.dtype and a.shape == b.shape and _bits(a) == _bits(b) for a, b in pairs)


def _bits(tensor: torch.Tensor) -> bytes:
    return (
        tensor.clone(memory_format=torch.contiguous_format)
        .reshape(-1)
        .view(torch.uint8)
        .numpy()
        .tobytes()
    )


ONE = Layout((Leaf(torch.float32, (2,)),))
PAIR = Layout((Leaf(torch.float32, (2,)), Leaf(torch.int64)), Skeleton(list, (), (LEAF, LEAF)))
