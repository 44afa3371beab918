"""What a collator makes comes out as it made it, whoever ran it, and draws the same."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from chirpid.data.general import generators
from chirpid.loading.universal.easy import make_loader
from tests.anydata import Squares
from tests.data.general.test_trees import alike

WAYS: list[dict[str, Any]] = [
    {"backend": "inline"},
    {"backend": "processes", "num_workers": 1, "start_method": "fork"},
    {"backend": "processes", "num_workers": 2, "start_method": "fork"},
]


def quiet(line: str) -> None:
    """Takes what is said."""


def draws(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Masks by all three generators, and takes the samples apart, as some collators do."""
    rows = torch.stack([sample.pop("x") for sample in samples])
    noise = torch.rand(len(rows)) + random.random() + np.random.rand()
    return {"x": rows, "noise": noise}


def in_tuples(samples: list[dict[str, Any]]) -> tuple[Any, ...]:
    return torch.stack([sample["x"] for sample in samples]), ("texts", [1, (2,)]), ()


def two_epochs(**settings: Any) -> list[Any]:
    with make_loader(Squares(24), 4, seed=5, say=quiet, **settings) as loader:
        return [batch for _ in range(2) for batch in loader]


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
def test_a_collator_draws_the_same_for_a_batch_whoever_runs_it(way: dict[str, Any]) -> None:
    ours = two_epochs(collate=draws, **WAYS[0])
    assert alike(ours, two_epochs(collate=draws, **way))
    noise = torch.cat([batch["noise"] for batch in ours])
    assert len(noise.unique()) == len(noise), "each batch draws its own"


def test_a_collator_draws_the_same_after_a_resume() -> None:
    whole = two_epochs(collate=draws)
    with make_loader(Squares(24), 4, seed=5, collate=draws, say=quiet) as loader:
        passing = iter(loader)
        for _ in range(2):
            next(passing)
        state = loader.state_dict()
    with make_loader(Squares(24), 4, seed=5, collate=draws, say=quiet) as loader:
        loader.load_state_dict(state)
        assert alike(list(loader), whole[2:6])


def test_a_collator_that_draws_leaves_the_generators_of_the_training_alone() -> None:
    before = generators.states()
    two_epochs(collate=draws, backend="inline")
    assert not before.drawn(generators.states())


@pytest.mark.parametrize("way", [*WAYS, {"device": "cpu"}], ids=str)
def test_a_batch_keeps_the_tuples_of_its_collator(way: dict[str, Any]) -> None:
    batch = two_epochs(collate=in_tuples, **way)[0]
    assert batch[1:] == (("texts", [1, (2,)]), ())  # which no lists are equal to
    assert type(batch) is tuple
