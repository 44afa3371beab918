"""Memory that is kept from call to call: fresh memory comes from the system page by page.

For large tensors that costs more than copying into them does.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor


class ThreadBuffers(threading.local):
    """Buffers by name, those of each thread its own, each as large as the largest so far."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return memory of this thread, in use until it is asked for the same name again."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or len(kept) < size or kept.dtype != dtype:
            with torch.inference_mode(False):  # it outlives the mode of the caller
                kept = self._kept[name] = torch.empty(size, dtype=dtype)
        return kept[:size].view(shape)
