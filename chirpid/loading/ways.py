"""What may be advised, and what somebody has to type to get there."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from chirpid.loading.tune.choose import Limits, held_bytes
from chirpid.loading.tune.model import Setting, Work
from chirpid.types import Backend, Mode

SPARE = 1.05
"""A budget that is raised is raised by this much more than is needed."""
_GIB = 2**30
_SETTINGS = ("loader.backend", "loader.num_workers", "loader.prefetch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What could be chosen from, and what is written down already."""

    limits: Limits
    """What the budgets allow."""
    room: Limits | None = None
    """What the machine would allow, were the budgets raised; None if they are not to be."""
    asked: Setting | None = None
    """What the command says, and gets where it says nothing; None if the run had just that."""
    left: Collection[Setting] = ()
    """What the run began with or tried, and gave up: it is not advised again."""
    fixed: Collection[str] = _SETTINGS
    """Settings of the loader that keep their values whatever the mode; others are named when the
    mode changes, as their values would be chosen anew."""
    picks_itself: bool = False
    """With loader=auto: given the mode and the budgets, it finds the rest."""
    is_for_device: bool = False
    """With loader=device: it is refused beside any other backend or mode."""
    cache_gib: float = 0.0
    """As the settings say; a budget is never advised to be lowered."""
    model_threads: int | None = None
    """Of the processor that compute a step; None where a GPU does it."""
    decoding: str = "decoding"
    """What decoding is called: what makes it dear may be worth saying."""


def overrides_of(now: Setting, then: Setting, ways: Ways) -> tuple[str, ...]:
    """Return what to type to get from one setting, `ways.asked` if that is another, to `then`."""
    now = ways.asked or now
    found = [] if now.mode is then.mode else [f"mode={then.mode.value}"]

    def told(name: str, before: object, after: object) -> bool:
        if found and ways.picks_itself:
            return before != after and name in ways.fixed
        return before != after or (bool(found) and name not in ways.fixed)

    numbers = []
    if then.num_workers:
        if told("loader.num_workers", now.num_workers, then.num_workers):
            numbers.append(f"loader.num_workers={then.num_workers}")
        if told("loader.prefetch", now.prefetch, then.prefetch):
            numbers.append(f"loader.prefetch={then.prefetch}")
    elif now.num_workers and "loader.num_workers" in ways.fixed:
        numbers.append("loader.num_workers=0")  # or it would ask for workers that there are not
    backend = told("loader.backend", now.backend, then.backend)
    names_it = [f"loader.backend={then.backend.value}"] if backend else []
    return (*found, *_policy(then, ways), *names_it, *numbers)


def _policy(then: Setting, ways: Ways) -> list[str]:
    """Return what frees the command of loader=device, where that is in the way."""
    is_held = (then.mode, then.backend) == (Mode.eager, Backend.device)
    return ["loader.policy=balanced"] if ways.is_for_device and not is_held else []


def raised_budgets(setting: Setting, work: Work, ways: Ways) -> tuple[str, ...]:
    """Return the budgets that a setting needs raised."""
    limits, found = ways.limits, []
    writes = setting.mode is Mode.cached and not work.cached_already
    if writes and work.store_bytes > limits.disk_bytes:
        found.append(f"mode.cache_gib={_gib(max(work.store_bytes, ways.cache_gib * _GIB))}")
    if (need := held_bytes(setting, work)) > limits.ram_bytes:
        found.append(f"memory.budget_gib={_gib(need)}")
    return tuple(found)


def _gib(num_bytes: float) -> str:
    """Return a size that has room for so many bytes, as short as it can be written."""
    gib = num_bytes * SPARE / _GIB
    digits = max(0, 1 - math.floor(math.log10(max(gib, 1e-9))))
    return f"{math.ceil(gib * 10**digits) / 10**digits:.{digits}f}"


def at_most(limits: Limits, *, ram_bytes: int, disk_bytes: int) -> Limits:
    """Return limits with the budgets at what a machine has."""
    return replace(
        limits,
        ram_bytes=max(limits.ram_bytes, ram_bytes),
        disk_bytes=max(limits.disk_bytes, disk_bytes),
    )
