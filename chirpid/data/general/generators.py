"""Random numbers that datasets draw from Python's, numpy's and torch's own generators.

A sample whose making draws gets the same numbers whatever its batch, its worker or the resume
point: the generators are seeded by (seed, epoch, sample) before it is made, and put back after.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from chirpid.seeds import mix64


class States(NamedTuple):
    """Where the three generators are."""

    python: tuple[Any, ...]
    numpy: Any
    torch: Tensor

    def drawn(self, later: States) -> list[str]:
        """Return the generators that gave numbers between this and a later state."""
        found = []
        if self.python != later.python:
            found.append("random")
        (_, keys, *rest), (_, later_keys, *later_rest) = self.numpy, later.numpy
        if rest != later_rest or not np.array_equal(keys, later_keys):
            found.append("numpy.random")
        if not torch.equal(self.torch, later.torch):
            found.append("torch")
        return found


def states() -> States:
    """Return where the three generators are."""
    return States(random.getstate(), np.random.get_state(), torch.get_rng_state())


def mark() -> tuple[Any, ...]:
    """Return something that is another after any number was drawn; a tenth of the time of `states`.

    Of numbers that a generator has ready, all tell, and the place among them.
    """
    return _python_mark(), _numpy_mark(), torch.default_generator.get_state().numpy().tobytes()


def _python_mark() -> Any:
    # Python's own way takes 12 us, to make a number of each of these.
    if _PYTHONS is None:
        return random.getstate()
    instance, state = _PYTHONS
    return bytes(state), instance.gauss_next  # every second normal number is kept there


def _numpy_mark() -> Any:
    generator = np.random.get_bit_generator()  # type: ignore[attr-defined]
    if type(generator) is not np.random.MT19937:  # somebody has set another one
        return repr(np.random.get_state(legacy=False))
    # numpy's own way takes 40 us, most of it to make an array of numbers from these.
    return bytes(_TwisterState.from_address(generator.ctypes.state_address))


_TwisterState = ctypes.c_uint32 * 625
"""624 words and the place in them, as numpy's C interface has them."""


def _state_of_python() -> tuple[Any, ctypes.Array[ctypes.c_uint32]] | None:
    """Return the generator of `random`, and its words and the place in them, which CPython keeps
    behind an object's head.

    None where they are not found there: in another Python they may lie elsewhere.
    """
    instance = getattr(random, "_inst", None)
    if sys.implementation.name != "cpython" or type(instance) is not random.Random:
        return None
    if random.Random.__basicsize__ < object.__basicsize__ + ctypes.sizeof(_TwisterState):
        return None
    state = _TwisterState.from_address(id(instance) + object.__basicsize__)
    *words, place = random.getstate()[1]
    return (instance, state) if [place, *words] == list(state) else None


_PYTHONS = _state_of_python()


@contextlib.contextmanager
def put_back() -> Iterator[None]:
    """Leave the generators where they were, whatever is drawn inside."""
    before = states()
    try:
        yield
    finally:
        random.setstate(before.python)
        np.random.set_state(before.numpy)
        torch.set_rng_state(before.torch)


def seed_for(*key: int) -> None:
    """Seed the three generators for what a key names."""
    seed = int(mix64(*key))
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed >> 1)
