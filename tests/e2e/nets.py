"""Networks for tests."""

from __future__ import annotations

from torch import Tensor, nn


class Plain(nn.Module):
    """Neither batch normalisation nor dropout."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(24, num_classes)

    def forward(self, spec: Tensor) -> Tensor:
        logits: Tensor = self.head(spec[:, 0].mean(dim=2))
        return logits
