"""A residual network for sets that are too large for the small one, on a GPU."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from chirpid.models.small_cnn import MeanMaxPool


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut; normalised before each, as in version 2."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU(inplace=True))
        self.body = nn.Sequential(
            _conv(channels_in, channels_out, 3, stride),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            _conv(channels_out, channels_out, 3),
        )
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else _conv(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        ready = self.before(x)
        out: Tensor = self.body(ready) + self.shortcut(ready)
        return out


class ResNet(nn.Module):
    """Normalised spectrograms [B, 1, M, F] to logits [B, C].

    Four stages of two blocks, channels doubling, time and frequency halving: 2.8 million weights
    at width 32.

    Args:
        num_classes: C.
        width: channels of the first stage.
        dropout: before the classifier.
    Source: He et al. (2016), arXiv:1603.05027.
    """

    def __init__(self, num_classes: int, *, width: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        channels = [width, width, 2 * width, 4 * width, 8 * width]
        blocks: list[nn.Module] = []
        for stage, (before, after) in enumerate(itertools.pairwise(channels)):
            blocks += [Block(before, after, 1 if stage == 0 else 2), Block(after, after, 1)]
        self.stem = _conv(1, width, 5, stride=2)
        self.body = nn.Sequential(*blocks, nn.BatchNorm2d(8 * width), nn.ReLU(inplace=True))
        self.pool = MeanMaxPool()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(8 * width, num_classes))
        self.to(memory_format=torch.channels_last)

    def forward(self, spec_B1MF: Tensor) -> Tensor:
        spec_B1MF = spec_B1MF.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.pool(self.body(self.stem(spec_B1MF))))
        return logits
