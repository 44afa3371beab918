"""Every draw is noticed, and generators are left where they were."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from chirpid.data.general import generators
from chirpid.data.general.generators import mark, put_back, seed_for, states

DRAWS: dict[str, tuple[str, Callable[[], Any]]] = {
    "random": ("random", random.random),
    "random.gauss": ("random", lambda: random.gauss(0, 1)),
    "shuffle": ("random", lambda: random.shuffle([1, 2, 3])),
    "np.random.rand": ("numpy.random", np.random.rand),
    "all words of a twister": ("numpy.random", lambda: np.random.rand(312)),
    "and of Python's": ("random", lambda: [random.random() for _ in range(312)]),
    "torch.rand": ("torch", lambda: torch.rand(1)),
    "torch.randperm": ("torch", lambda: torch.randperm(5)),
}


@pytest.mark.parametrize("name", list(DRAWS))
def test_a_draw_changes_the_mark_and_is_named_by_the_states(name: str) -> None:
    generator, draw = DRAWS[name]
    before, at = mark(), states()
    assert mark() == before
    assert at.drawn(states()) == []
    draw()
    assert mark() != before
    assert at.drawn(states()) == [generator]


@pytest.mark.parametrize("is_known", [True, False])
def test_each_number_of_pythons_own_generator_is_noticed(
    is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_known:  # as in a Python that keeps its words elsewhere
        monkeypatch.setattr(generators, "_PYTHONS", None)
    for draw in (random.random, lambda: random.gauss(0, 1)):  # of two, the second is ready
        for _ in range(700):
            before = mark()
            draw()
            assert mark() != before


def test_generators_are_put_back_even_after_an_error() -> None:
    def fail() -> None:
        with put_back():
            seed_for(1, 2)
            raise OSError("no such sample")

    before = mark()
    with pytest.raises(OSError, match="no such sample"):
        fail()
    assert mark() == before


def test_the_same_key_gives_the_same_numbers_and_another_key_others() -> None:
    def drawn(*key: int) -> tuple[float, float, float]:
        with put_back():
            seed_for(*key)
            return random.random(), np.random.rand(), float(torch.rand(()))

    assert drawn(1, 2) == drawn(1, 2)
    assert all(a != b for a, b in zip(drawn(1, 2), drawn(2, 1), strict=True))


def test_another_generator_of_numpy_is_watched_as_well() -> None:
    usual = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        before = mark()
        np.random.rand()
        assert mark() != before
    finally:
        np.random.set_bit_generator(usual)
