"""The plan of a loader for any dataset, and the machine that it is for."""

from __future__ import annotations

import operator
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, SupportsIndex, TypeVar

from chirpid.config.profiles import hardware_settings
from chirpid.data.general.adapt import Adapted
from chirpid.data.general.source import Source
from chirpid.errors import ConfigError, did_you_mean
from chirpid.loading.hardware import Machine, read_machine
from chirpid.loading.inputs import Items, within
from chirpid.loading.main_module import why_only_fork
from chirpid.loading.plan import LoaderPlan, Profile, Traits, Wish, make_plan
from chirpid.types import Backend, IntArray, Mode, Policy, StartMethod

E = TypeVar("E", bound=StrEnum)
MEMORY_FRACTION = 0.75
"""Of the free memory that loading may take, as `memory.fraction` has it."""


@dataclass(frozen=True, slots=True)
class Place:
    """The machine as far as it may be used."""

    machine: Machine
    profile: Profile

    @property
    def budget_bytes(self) -> int:
        """RAM that loading may take."""
        return int(MEMORY_FRACTION * within(self.machine, self.profile).free_bytes)


def place_of(hardware: str, device: str = "auto") -> Place:
    """Return this machine, under a profile of the group `hardware`.

    Raises:
        ConfigError: there is no such profile.
    """
    profile = Profile() if hardware == "auto" else Profile.of(hardware_settings(hardware))
    return Place(read_machine(device), profile)


def wish_of(
    loader: str,
    *,
    backend: str | None = None,
    num_workers: int | None = None,
    prefetch: int | None = None,
    start_method: str | None = None,
    pin_memory: bool | None = None,
) -> Wish:
    """Return what the user asked for.

    Raises:
        ConfigError: there is no such policy, backend or start method, or a number is out of range.
    """
    for name, value, least in (("num_workers", num_workers, 0), ("prefetch", prefetch, 1)):
        if value is not None and not _is_whole(value, least):
            raise ConfigError(f"{name}={value!r} is out of range. Use {least} or more, whole.")
    return Wish(
        policy=one_of(Policy, "loader", loader),
        backend=one_of(Backend, "backend", backend or "auto"),
        num_workers=None if num_workers is None else operator.index(num_workers),
        prefetch=None if prefetch is None else operator.index(prefetch),
        pin_memory=pin_memory,
        start_method=one_of(StartMethod, "start_method", start_method or "auto"),
    )


def _is_whole(value: Any, least: int) -> bool:
    is_number = isinstance(value, SupportsIndex) and not isinstance(value, bool)
    return is_number and operator.index(value) >= least


def one_of(kind: type[E], name: str, value: str) -> E:
    known = [member.value for member in kind]
    if value not in known:
        raise ConfigError(
            f"{name}='{value}' is not known.{did_you_mean(str(value), known)} "
            f"There are: {', '.join(known)}."
        )
    return kind(value)


def plan_for(
    adapted: Adapted, first: IntArray, *, batch_size: int, place: Place, wish: Wish
) -> LoaderPlan:
    """Return how batches of a dataset will be fetched, and why.

    Args:
        first: the ids of a batch to look at, best of the first that will be asked for: what is read
            for it may be kept.

    Raises:
        BudgetError: not even two batches fit in the memory.
    """
    source = adapted.source
    items = _items(adapted, first, batch_size) if source.mode is Mode.lazy else None
    row_bytes = source.spec.batch_row_bytes
    traits = Traits(
        mode=source.mode,
        num_segments=len(adapted),
        batch_bytes=batch_size * row_bytes,
        store_bytes=row_bytes * source.num_segments,
        heavy=source.mode is Mode.lazy,
        items=items,
    )
    return make_plan(
        machine=place.machine, profile=place.profile, wish=wish, traits=traits,
        budget_bytes=place.budget_bytes,
    )  # fmt: skip


def _items(adapted: Adapted, first: IntArray, batch_size: int) -> Items:
    """Return what is known of a dataset that runs code of its own for each batch."""
    source, look = adapted.source, adapted.look
    batch_s = batch_size * look.sample_s if look is not None else _read_s(source, first)
    thread_safe = bool(getattr(source.dataset, "thread_safe", False))
    return Items(batch_s, thread_safe, look is not None and look.draws, why_only_fork())


def _read_s(source: Source, ids: IntArray) -> float:
    """Return the seconds that a batch takes, by the second of two: the first opens files."""
    source.fetch(ids)
    begin = time.perf_counter()
    source.fetch(ids)
    return time.perf_counter() - begin
