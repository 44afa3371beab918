"""Datasets of the tests: samples of one shape, of many, and unruly ones."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from chirpid.data.general.columns import Columns, Layout, Leaf


class Base:
    """Notes which samples were asked for."""

    def __init__(self, num: int = 40) -> None:
        self.num, self.asked = num, list[int]()

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.num:
            raise IndexError(index)
        self.asked.append(index)
        return self.make(index)

    def make(self, index: int) -> Any:
        raise NotImplementedError


class Fixed(Base):
    """A tensor, an array, numbers of Python and of numpy."""

    def make(self, index: int) -> Any:
        image = torch.full((2, 3), float(index))
        return {"image": image, "rest": (np.full(4, index, np.int16), index, index / 2,
                                         index % 2 == 0, np.float32(index))}  # fmt: skip


class Varied(Base):
    """Texts and tensors of many lengths, a set and nothing."""

    def make(self, index: int) -> Any:
        return {"ids": torch.arange(index), "text": "a" * index, "set": {index}, "none": None}


class LateVaried(Base):
    """Of one shape, but for a few."""

    def make(self, index: int) -> Any:
        return torch.full((3 if index % 7 != 5 else 5,), index)


class Failing(Fixed):
    """The third sample fails at first."""

    fails = True

    def make(self, index: int) -> Any:
        if index == 3 and self.fails:
            raise ValueError("sample 3 is broken")
        return super().make(index)


class Draws(Base):
    """Random samples, by one generator or another."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.own = kind, np.random.default_rng(0)

    def make(self, index: int) -> Any:
        if self.kind == "torch":
            return torch.rand(2)
        if self.kind == "numpy":
            return np.random.rand(2)
        if self.kind == "seldom":
            return float(torch.rand(()) > 2)  # drawn from, with no effect on this sample
        return self.own.random(2)


class Reader(Base):
    """Whole batches, and who asked."""

    thread_safe = True
    layout = Layout((Leaf(torch.float32, (64,)), Leaf(torch.uint8, (3,))))

    def __init__(self, num: int = 40) -> None:
        super().__init__(num)
        from chirpid.data.general.trees import LEAF, Skeleton

        self.layout = Layout(self.layout.leaves, Skeleton(list, (), (LEAF, LEAF)))
        self.threads = set[int]()

    def make(self, index: int) -> Any:
        return (torch.full((64,), float(index)), torch.full((3,), index % 251, dtype=torch.uint8))

    def read_into(self, ids: Any, out: Columns) -> None:
        self.threads.add(threading.get_ident())
        self.asked.extend(ids.tolist())
        for row, id_ in enumerate(ids.tolist()):
            for tensor, value in zip(out.tensors, self.make(id_), strict=True):
                tensor[row] = value
