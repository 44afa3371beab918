"""Loaders of torch made anew end where an epoch does, whatever their samplers say of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from chirpid.errors import ConfigError
from chirpid.loading.universal.base import AnyLoader
from chirpid.loading.universal.torch_loaders import anew
from tests.loading.universal.test_loader import same

ROWS = TensorDataset(torch.arange(10))


class Endless:
    """Batches without an end."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from itertools.cycle([[0, 1], [2], [5, 5]])


class EndlessNumbers:
    """Numbers of samples without an end, and without a length."""

    def __iter__(self) -> Iterator[int]:
        return itertools.cycle(range(10))


class Empties:
    """Batches of nothing without an end."""

    def __iter__(self) -> Iterator[list[int]]:
        return itertools.repeat([])


class Long(Endless):
    """Says where an epoch ends, though it goes on."""

    def __len__(self) -> int:
        return 4


class Counting:
    """Counts the epochs that it has come to the end of."""

    def __init__(self) -> None:
        self.num_ended = 0

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[list[int]]:
        yield [self.num_ended]
        yield [9]
        self.num_ended += 1


def made(loader: Any, said: list[str] | None = None, **settings: Any) -> AnyLoader:
    tell = (said if said is not None else []).append
    return anew(loader, 0, tell, trains=True, backend="inline", **settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Endless", {"batch_sampler": Endless()}),
        ("Empties", {"batch_sampler": Empties()}),
        ("BatchSampler", {"batch_size": 4, "sampler": EndlessNumbers()}),
    ],
)
def test_a_sampler_without_an_end_is_refused_with_what_to_do(
    name: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} has given [^\n]* of 10, [^\n]*__len__[^\n]*$"):
        made(DataLoader(ROWS, **settings))


def test_a_sampler_with_a_length_gives_as_many_batches() -> None:
    said: list[str] = []
    loader = made(DataLoader(ROWS, batch_sampler=Long()), said)
    for _ in range(2):
        assert [batch[0].tolist() for batch in loader] == [[0, 1], [2], [5, 5], [0, 1]]
    assert said == ["Long gives more batches than its length says: an epoch has 4."]


def test_a_sampler_that_ends_comes_to_its_end() -> None:
    said: list[str] = []
    loader = made(DataLoader(ROWS, batch_sampler=Counting()), said)
    first = [[batch[0].tolist() for batch in loader] for _ in range(3)]
    assert first == [[[0], [9]], [[1], [9]], [[2], [9]]]
    assert said == []


@pytest.mark.parametrize(
    "how", [{"batch_size": 3}, {"batch_sampler": [[4, 0], [1, 2, 3]]}], ids=str
)
def test_a_part_that_repeats_samples_comes_as_torch_has_it(how: dict[str, Any]) -> None:
    theirs = DataLoader(Subset(Subset(ROWS, [9, 7, 5]), [2, 0, 0, 1, 2]), **how)
    assert same(list(made(theirs)), list(theirs))


def test_a_shuffled_part_that_repeats_samples_comes_whole() -> None:
    theirs = DataLoader(Subset(ROWS, [3, 3, 3, 8, 1]), 2, shuffle=True)
    loader = made(theirs)
    epochs = [torch.cat([batch[0] for batch in loader]).tolist() for _ in range(4)]
    assert all(sorted(epoch) == [1, 3, 3, 3, 8] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1
