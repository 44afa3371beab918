"""A model to measure."""

from __future__ import annotations

import time

from chirpid.types import Batch


class Slow:
    """A model whose steps take a while; it counts what it is asked for."""

    def __init__(self, step_s: float) -> None:
        self.step_s, self.num_steps, self.num_others = step_s, 0, 0

    def train(self, batch: Batch) -> None:
        self.num_steps += 1
        time.sleep(self.step_s)

    def prepare(self, batch: Batch) -> float:
        self.num_others += 1
        return 0.0

    def evaluate(self, batch: Batch) -> None:
        self.num_others += 1

    def wait(self) -> None:
        """There is no device."""

    def num_bytes(self) -> int:
        return 7
