"""Random numbers that datasets draw from Python's, numpy's and torch's own generators.

A sample whose making draws gets the same numbers whatever its batch, its worker or the resume
point: the generators are seeded by (seed, epoch, sample) before it is made, and put back after.
"""

from __future__ import annotations

import contextlib
import random
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
