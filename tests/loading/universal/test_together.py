"""Small batches of Python objects are made several in a call; nobody can tell by the batches."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from chirpid import make_loader
from chirpid.loading.backends.inline import TOGETHER_S


class Counting:
    """Samples of a few numbers; it notes which are asked for."""

    def __init__(self, num_samples: int, sample_s: float = 0.0, bad: int | None = None) -> None:
        self.num_samples, self.sample_s, self.bad = num_samples, sample_s, bad
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.asked.append(index)
        if index == self.bad:
            raise ValueError(f"sample {index} is broken")
        time.sleep(self.sample_s)
        return torch.full((3,), float(index)), index


def loader_of(dataset: Counting, batch_size: int = 4) -> Any:
    return make_loader(dataset, batch_size, shuffle=False, backend="inline")


def test_quick_samples_are_made_ahead_for_several_batches_and_are_the_same() -> None:
    dataset = Counting(42)
    expected = list(DataLoader(Counting(42), 4))  # type: ignore[arg-type, var-annotated]
    with loader_of(dataset) as loader:
        for _ in range(3):
            dataset.asked.clear()
            ahead = []
            for number, ((rows, ids), (rows_, ids_)) in enumerate(
                zip(loader, expected, strict=True)
            ):
                assert torch.equal(rows, rows_)
                assert torch.equal(ids, ids_)
                ahead.append(len(dataset.asked) - min(42, 4 * (number + 1)))
            assert dataset.asked == list(range(42))
        assert max(ahead) >= 4


def test_slow_samples_are_made_when_their_batch_is_asked_for() -> None:
    dataset = Counting(24, sample_s=TOGETHER_S)
    with loader_of(dataset) as loader:
        for _ in range(2):
            dataset.asked.clear()
            for number, _ in enumerate(loader):
                assert len(dataset.asked) == 4 * (number + 1)


@pytest.mark.parametrize("num_epochs", [1, 3])
def test_an_error_comes_with_the_batch_that_is_to_blame(num_epochs: int) -> None:
    dataset = Counting(40)
    with loader_of(dataset) as loader:
        for _ in range(num_epochs - 1):
            assert len(list(loader)) == 10
        dataset.bad, passing = 29, iter(loader)
        got = [next(passing)[1].tolist() for _ in range(7)]
        with pytest.raises(ValueError, match="sample 29 is broken"):
            next(passing)
        assert got == [list(range(first, first + 4)) for first in range(0, 28, 4)]
        dataset.bad = None
        assert len(list(loader)) == 10
