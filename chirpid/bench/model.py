"""A model small enough that a loader has to keep up with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from chirpid.bench.facts import own_cpu_s
from chirpid.bench.timing import Figures
from chirpid.bench.truth import unpack


class TinyNet(nn.Module):
    """Spectrograms [B, M, F] in dB to logits [B, 2], about seven hundred a second on two cores."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 5, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(64, 2)

    def forward(self, spec_BMF: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(spec_BMF[:, None] / 50 + 1).mean((2, 3)))
        return logits


class Training:
    """Steps of a `TinyNet`; the same arithmetic whatever comes in."""

    def __init__(self) -> None:
        self.net = TinyNet()
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=1e-4)

    def step(self, batch: object) -> None:
        """Update the weights once."""
        _, spec_BMF = unpack(batch)
        target = torch.arange(len(spec_BMF)) % 2
        loss = nn.functional.cross_entropy(self.net(spec_BMF), target)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()


class TrainingPasses:
    """Passes that train on every batch, and the share of the time that they waited for one."""

    def __init__(self, training: Training, batches: Callable[[int], Iterator[object]]) -> None:
        self._training, self._batches = training, batches
        self._waited_s = self._cpu_s = self._elapsed_s = 0.0

    def run(self, seed: int) -> Iterator[object]:
        """Yield each batch after the step on it: a `next()` is the wait and the step."""
        begin, cpu_s, self._waited_s = time.perf_counter(), own_cpu_s(), 0.0
        source = self._batches(seed)
        while True:
            asked = time.perf_counter()
            batch = next(source, None)
            self._waited_s += time.perf_counter() - asked
            if batch is None:
                break
            self._training.step(batch)
            yield batch
        self._elapsed_s, self._cpu_s = time.perf_counter() - begin, own_cpu_s() - cpu_s

    def figures(self) -> Figures:
        """Return the wait share, and the core-seconds of the model and of loading together."""
        return {"wait_share": self._waited_s / self._elapsed_s, "core_s": self._cpu_s}
