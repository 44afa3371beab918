"""A model to measure."""

from __future__ import annotations

import time

from chirpid.types import Batch


class Slow:
    """A model whose steps take a while; it counts what it is asked for."""

    def __init__(self, step_s: float, row_s: float = 0.0) -> None:
        self.step_s, self.row_s, self.num_steps, self.num_others = step_s, row_s, 0, 0
        self.num_rows: list[int] = []

    def train(self, batch: Batch) -> None:
        self.num_steps += 1
        self.num_rows.append(len(batch.ids))
        assert len(batch.inputs) == len(batch.ids)
        time.sleep(self.step_s + self.row_s * len(batch.ids))

    def prepare(self, batch: Batch) -> float:
        self.num_others += 1
        return 0.0

    def evaluate(self, batch: Batch) -> None:
        self.num_others += 1

    def wait(self) -> None:
        """There is no device."""

    def num_bytes(self) -> int:
        return 7
