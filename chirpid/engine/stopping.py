"""Which epoch was the best, and whether it is time to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Weights = dict[str, Tensor]


class BestEpoch:
    """Keeps the weights of the epoch with the highest score; of equals, the first."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.epoch = -1
        self.score = float("-inf")
        self.waited = 0
        self.weights: Weights | None = None

    @property
    def exhausted(self) -> bool:
        """Whether `patience` epochs in a row brought nothing."""
        return self.waited >= self.patience

    def offer(self, epoch: int, score: float, weights: Callable[[], Weights]) -> None:
        """Take an epoch into account; `weights` is called if it is the best so far.

        A score that is not a number is no improvement.
        """
        if score > self.score or self.weights is None:
            self.epoch, self.waited, self.weights = epoch, 0, weights()
            self.score = score if score == score else float("-inf")
        else:
            self.waited += 1

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        names = ("epoch", "score", "waited", "weights")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        for name, value in state.items():
            setattr(self, name, value)
