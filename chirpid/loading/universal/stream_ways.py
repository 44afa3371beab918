"""How a stream is read: by whom, how far ahead, and where to. What cannot be had is said."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from chirpid.config.profiles import hardware_settings
from chirpid.errors import ConfigError
from chirpid.loading.backends.processes import workers_can_start
from chirpid.loading.factory import Say
from chirpid.loading.plan import Wish
from chirpid.types import Backend, Policy, StartMethod

TIMEOUT_S = 120.0
"""What `make_loader` waits for a batch of worker processes, unless it is told."""
PREFETCH = 2
HERE = "it is read in the calling thread, and num_workers is 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamWay:
    """How a stream is read."""

    num_workers: int = 0
    """Worker processes of torch; 0 reads in the calling thread."""
    prefetch: int = PREFETCH
    """Batches that each of them is ahead."""
    start_method: StartMethod = StartMethod.auto
    """How they start; auto: as Python starts processes."""
    timeout_s: float = TIMEOUT_S
    """To wait for a batch of theirs, times the batches of a window: a window comes at once."""
    pin_memory: bool = False
    """Batches are page-locked."""


def way_of_stream(
    wish: Wish, *, hardware: str, timeout_s: float, device: torch.device | None, say: Say
) -> StreamWay:
    """Return how a stream is read as the user asked for.

    Args:
        device: where batches are to be; None for where they are made.
        say: told in a line of each setting that does nothing here.

    Raises:
        ConfigError: there is no such profile.
    """
    num_workers = _workers(wish, say)
    prefetch, start_method = wish.prefetch, wish.start_method
    if hardware != "auto":
        hardware_settings(hardware)  # which knows the names
        _idle(say, f"hardware='{hardware}'", "it has as many workers as num_workers says")
    if wish.policy not in (Policy.auto, Policy.safe):
        _idle(say, f"loader='{wish.policy}'", "nothing is known of what its samples take")
    if not num_workers:
        if prefetch is not None:
            _idle(say, f"prefetch={prefetch}", HERE)
        if start_method is not StartMethod.auto:
            _idle(say, f"start_method='{start_method}'", HERE)
        if timeout_s != TIMEOUT_S:
            _idle(say, f"timeout_s={timeout_s:g}", HERE)
    return StreamWay(
        num_workers=num_workers,
        prefetch=PREFETCH if prefetch is None else prefetch,
        start_method=start_method,
        timeout_s=timeout_s,
        pin_memory=_pins(wish, device, say),
    )


def check_timeout(timeout_s: float) -> None:
    """Check how long to wait for a batch.

    Raises:
        ConfigError: it is no time.
    """
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if not is_number or not 0 < timeout_s < math.inf:
        raise ConfigError(f"timeout_s={timeout_s!r} is out of range. Use seconds above 0.")


def _idle(say: Say, setting: str, why: str) -> None:
    say(f"{setting} does nothing for a stream: {why}.")


def _workers(wish: Wish, say: Say) -> int:
    """Return how many worker processes read a stream."""
    by_processes = wish.backend is Backend.processes
    wanted = int(by_processes) if wish.num_workers is None else wish.num_workers
    if by_processes and not wanted:
        say("backend processes -> inline: num_workers is 0")
    if wanted and wish.backend is Backend.inline:
        say(f"num_workers {wanted} -> 0: backend inline reads in the caller")
        return 0
    is_usual = wish.start_method is StartMethod.auto
    problem = workers_can_start(StartMethod.spawn if is_usual else wish.start_method)
    if wanted and problem:
        say(f"num_workers {wanted} -> 0: {problem}")
        return 0
    return wanted


def _pins(wish: Wish, device: torch.device | None, say: Say) -> bool:
    """Return whether batches are page-locked."""
    has_gpu = torch.cuda.is_available() and (device is None or device.type == "cuda")
    if wish.pin_memory and not has_gpu:
        say("pin_memory true -> false: there is no GPU to copy to")
    wanted = wish.policy is not Policy.safe if wish.pin_memory is None else wish.pin_memory
    return wanted and has_gpu
