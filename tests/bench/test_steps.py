"""What a loader adds to steps is the time that it was waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from chirpid.bench.works.steps import Items, Steps, _reused

IMAGES = torch.rand((6, 1, 28, 28), generator=torch.Generator().manual_seed(0))


def test_waits_are_told_in_percent_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def batches(seed: int) -> Iterator[object]:
        for first in (0, 3):
            now[0] += 0.002
            yield IMAGES[first : first + 3], torch.arange(first, first + 3)
        now[0] += 0.001

    trained = Steps(batches)

    def step(images: Tensor, number_B: Tensor) -> None:
        now[0] += 0.05

    monkeypatch.setattr(trained, "_step", step)
    assert [len(batch[0]) for batch in trained.run(0)] == [3, 3]  # type: ignore[index]
    figures = trained.figures()
    assert figures["wait_percent"] == pytest.approx(5.0)
    assert figures["wait_us"] == pytest.approx(2500.0)
    assert figures["step_ms"] == pytest.approx(50.0)


def test_steps_train() -> None:
    torch.manual_seed(0)
    numbers = torch.arange(6)
    trained = Steps(lambda seed: iter([(IMAGES, numbers)] * 3))
    before = [weights.clone() for weights in trained.net.parameters()]
    assert len(list(trained.run(0))) == 3
    for old, new in zip(before, trained.net.parameters(), strict=True):
        assert not torch.equal(old, new)


def test_items_alone_are_made_each_once_a_pass() -> None:
    asked: list[int] = []

    class Counted(Items):
        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            asked.append(index)
            return super().__getitem__(index)

    columns = torch.utils.data.TensorDataset(IMAGES, torch.arange(6))
    batches = list(_reused(columns, 4, Counted(IMAGES))(0))
    assert [len(batch[0]) for batch in batches] == [4, 2]  # type: ignore[index]
    assert sorted(asked) == list(range(6))
