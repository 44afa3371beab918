"""Whether samples and batches are equal in structure, types and bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def same(left: Any, right: Any) -> bool:
    """Whether two batches or samples of tensors are equal in structure, types and bits."""
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and bits(left) == bits(right)
    if type(left) is not type(right) or len(left) != len(right):
        return False
    if isinstance(left, dict):
        return all(same(left[key], right[key]) for key in left)
    return all(map(same, left, right))


def alike(left: Any, right: Any) -> bool:
    """Whether two samples of anything are equal in structure, types and bits."""
    if isinstance(left, dict | list | tuple):
        if type(left) is not type(right) or len(left) != len(right):
            return False
        pairs = zip(left.values(), right.values(), strict=True) if isinstance(left, dict) else \
            zip(left, right, strict=True)  # fmt: skip
        return all(alike(one, other) for one, other in pairs)
    if isinstance(left, torch.Tensor):
        return same(left, right)
    if isinstance(left, np.ndarray | np.generic):
        return type(left) is type(right) and repr(left) == repr(right)
    return type(left) is type(right) and left == right
