"""A small convolutional network that is good for its size on a few hundred recordings."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv(
    channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class MeanMaxPool(nn.Module):
    """[B, W, M, F] -> [B, W]: mean over bands, then mean plus maximum over time.

    The mean hears what lasts, the maximum what is short and rare: a call in seconds of wind.
    Source: the pooling of PANNs (Kong et al., 2020), arXiv:1912.10211.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(dim=2)
        return x.mean(dim=2) + x.amax(dim=2)


class SmallCNN(nn.Module):
    """Normalised spectrograms [B, 1, M, F] to logits [B, C].

    Dense 3×3 convolutions in channels-last order: on a CPU they run at several times the rate of
    depthwise ones, which have fewer weights but no less memory traffic.

    Args:
        num_classes: C.
        width: channels of the first layer; the last has four times as many.
        dropout: before the classifier.
    """

    def __init__(self, num_classes: int, *, width: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        w = width
        self.body = nn.Sequential(
            _conv(1, w, kernel=5, stride=2),
            nn.MaxPool2d(2),
            _conv(w, 2 * w),
            _conv(2 * w, 2 * w),
            nn.MaxPool2d(2),
            _conv(2 * w, 4 * w),
            _conv(4 * w, 4 * w),
        )
        self.pool = MeanMaxPool()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * w, num_classes))
        self.to(memory_format=torch.channels_last)

    def forward(self, spec_B1MF: Tensor) -> Tensor:
        spec_B1MF = spec_B1MF.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.pool(self.body(spec_B1MF)))
        return logits


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
