"""How exactly is computed: mixed precision, and the same bits from the same numbers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from chirpid.native.heap import kept_memory


@contextlib.contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Have torch take algorithms that give the same bits each time, and leave it as it was.

    An operation that has none is told by torch in a warning.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warn_before = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill_before = memory.fill_uninitialized_memory
    if wanted:
        # cuBLAS reads this when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Every `empty` would be filled otherwise, which helps nobody who writes all of it.
        memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_before)
        memory.fill_uninitialized_memory = fill_before


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Have torch compute with so many threads (None: as it does), and leave it as it was.

    What a step frees is kept for the next one meanwhile.
    """
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        with kept_memory():
            yield
    finally:
        torch.set_num_threads(before)


class Precision:
    """bfloat16 where the GPU computes in it, else float16 with loss scaling.

    Args:
        amp: None switches it on for a GPU; True on a CPU has no effect.
    """

    def __init__(self, device: torch.device, amp: bool | None) -> None:
        self.device = device
        self.active = device.type == "cuda" and amp is not False
        bfloat16 = self.active and torch.cuda.is_bf16_supported()
        self.dtype = torch.bfloat16 if bfloat16 else torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.active and not bfloat16)

    def autocast(self) -> torch.autocast:
        """Return the context in which the network runs."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.active)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients, scaled if need be."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(
        self,
        optimiser: torch.optim.Optimizer,
        parameters: Iterable[nn.Parameter],
        clip_norm: float | None,
    ) -> None:
        """Update the weights, with gradients clipped to a norm if given."""
        if clip_norm is not None:
            self.scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        self.scaler.step(optimiser)
        self.scaler.update()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return self.scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        if state:
            self.scaler.load_state_dict(state)
