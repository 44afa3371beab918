"""What data modules pass on to `make_loader`."""

from __future__ import annotations

from typing import TypedDict

import torch

from chirpid.loading.factory import Say


class LoaderSettings(TypedDict, total=False):
    """What `make_loader` can be told beside what a module says itself."""

    on_bad: str
    window: int
    device: str | torch.device | None
    backend: str | None
    num_workers: int | None
    prefetch: int | None
    start_method: str | None
    pin_memory: bool | None
    timeout_s: float
    adapt: bool
    say: Say | None
