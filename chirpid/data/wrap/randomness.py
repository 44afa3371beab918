"""Whether making a sample draws random numbers, of which a cache would keep the first for ever."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class Draws:
    """Watches the generators that all of a program shares."""

    def __init__(self) -> None:
        self.by: str | None = None
        """Whose generator was drawn from twice in a row, so that it was hardly another thread."""
        self._last: str | None = None

    def watch(self, make: Callable[[], Any]) -> Any:
        """Return what `make` returns, and note what it draws from."""
        before = _states()
        made = make()
        after = _states()
        drawn = next((name for name in before if before[name] != after[name]), None)
        if drawn is not None and drawn == self._last:
            self.by = drawn
        self._last = drawn
        return made


def _states() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state(legacy=False)),
        "random": random.getstate(),
    }
