"""Datasets for tests of loaders of any dataset; to be imported by worker processes, too."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset


class Squares(Dataset[dict[str, Any]]):
    """Sample i is i and its square, under names."""

    def __init__(self, num: int = 50) -> None:
        self.num = num

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": torch.full((3,), float(index)), "square": index * index}


class Noisy(Squares):
    """Draws from all three generators."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        noise = torch.rand(2) + random.random() + np.random.rand()
        return {"x": index + noise, "y": index}


class RarelyNoisy(Squares):
    """Draws for one sample in ten, and for none of those that are looked at first."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        noise = torch.rand(()).item() if index % 10 == 5 else 0.0
        return {"x": index + noise, "y": index}


class Ragged(Squares):
    """Sample i is as long as i, and has a name."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": torch.arange(float(index + 1)), "name": f"sample {index}"}


class Broken(Squares):
    """Every seventh sample cannot be made."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index % 7 == 3:
            raise OSError(f"file {index} is damaged")
        return super().__getitem__(index)


class Stream(IterableDataset[tuple[Tensor, int]]):
    """Numbers from 0 on."""

    def __init__(self, num: int = 50) -> None:
        self.num = num

    def __iter__(self):  # type: ignore[no-untyped-def]
        for number in range(self.num):
            yield torch.full((2,), float(number)), number


class KnowsItsPlace(Stream):
    """A stream with a state, which counts what was read of it."""

    def __init__(self, num: int = 50) -> None:
        super().__init__(num)
        self.place, self.num_read = 0, 0

    def __iter__(self):  # type: ignore[no-untyped-def]
        place, self.place = self.place, 0
        while place < self.num:
            self.num_read += 1
            place += 1
            self.at = place
            yield torch.full((2,), float(place - 1)), place - 1

    def state_dict(self) -> dict[str, int]:
        return {"place": getattr(self, "at", 0)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = self.at = state["place"]


def pads(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A collator of one's own."""
    rows = [sample["x"] for sample in samples]
    return {
        "x": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
        "name": [sample["name"] for sample in samples],
    }
