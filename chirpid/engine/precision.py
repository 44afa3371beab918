"""Automatic mixed precision where the device has it, plain float32 elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


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
