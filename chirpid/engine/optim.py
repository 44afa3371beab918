"""Optimiser, learning rate and loss."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from chirpid.types import IntArray


def make_optimiser(
    name: str, model: nn.Module, *, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return Adam or AdamW; biases and normalisation layers are not decayed."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if name == "adam":
        return torch.optim.Adam(groups, lr=lr)
    return torch.optim.AdamW(groups, lr=lr)


def learning_rate(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Return the rate of a step: a linear rise, then half a cosine to zero.

    A function of the step alone, so that a resumed run has no schedule to restore.
    Source: SGDR without restarts (Loshchilov and Hutter, 2017), arXiv:1608.03983.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def class_weights(labels: IntArray, num_classes: int) -> Tensor:
    """Return float32 [C]: inverse root of the class counts, mean 1 over the classes present."""
    counts = np.bincount(labels, minlength=num_classes).astype(np.float64)
    weights = np.where(counts > 0, 1 / np.sqrt(np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights / weights[counts > 0].mean()).float()


def soft_cross_entropy(
    logits_BC: Tensor, target_BC: Tensor, weight_C: Tensor, smoothing: float
) -> Tensor:
    """Return the mean cross-entropy with soft targets, each segment weighed by its classes."""
    weight_B = target_BC @ weight_C
    target_BC = target_BC * (1 - smoothing) + smoothing / target_BC.shape[1]
    loss_B = -(target_BC * torch.log_softmax(logits_BC, dim=1)).sum(dim=1)
    return (loss_B * weight_B).mean()
