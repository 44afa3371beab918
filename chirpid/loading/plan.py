"""The decision how batches are fetched: a pure function, with a reason for every field."""

from __future__ import annotations

from dataclasses import dataclass, field

from chirpid.errors import BudgetError
from chirpid.loading.choose_backend import (
    WITH_WORKERS,
    choose_backend,
    choose_persistence,
    choose_pinning,
    choose_start,
)
from chirpid.loading.choose_workers import choose_workers, in_flight, without_workers
from chirpid.loading.decision import Decision, clamped, shown
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.inputs import NO_GPU, Case, Picks, Profile, Traits, Wish, within
from chirpid.types import Backend, Mode, StartMethod, size_text

__all__ = [
    "Decision", "LoaderPlan", "Picks", "Profile", "Traits", "Wish", "in_flight", "make_plan",
]  # fmt: skip

_FIELDS = (
    "backend", "num_workers", "prefetch", "pin_memory", "persistent_workers", "start_method",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoaderPlan:
    """How batches are fetched."""

    backend: Decision[Backend]
    num_workers: Decision[int]
    prefetch: Decision[int]
    pin_memory: Decision[bool]
    persistent_workers: Decision[bool]
    start_method: Decision[StartMethod]
    batch_bytes: int
    total_bytes: int
    """RAM that loading takes: what the mode holds and the batches in flight."""
    budget_bytes: int = 0
    """RAM that it may take."""
    missing: tuple[str, ...] = field(default=())
    """One line for every fact of the profile that this machine does not bear out."""

    @property
    def clamps(self) -> tuple[str, ...]:
        """One line for everything that the machine, the set or the budget did not allow."""
        lines = (getattr(self, name).line(name) for name in _FIELDS)
        return (*self.missing, *(line for line in lines if line is not None))

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return (setting, value, source, reason) of every decision, for a table."""
        decisions: list[tuple[str, Decision[object]]] = [(n, getattr(self, n)) for n in _FIELDS]
        return [(n, shown(d.value), d.source, d.reason) for n, d in decisions]

    def byte_rows(self) -> list[tuple[str, str, str, str]]:
        """Return the same of the memory that follows from the decisions."""
        num_batches = in_flight(self.num_workers.value, self.prefetch.value)
        held = self.total_bytes - num_batches * self.batch_bytes
        return [
            ("batch_bytes", size_text(self.batch_bytes), "dataset", "a batch"),
            (
                "total_bytes", size_text(self.total_bytes), "dataset",
                f"{num_batches} batches at once, {size_text(held)} that the mode holds; "
                f"{size_text(self.budget_bytes)} may be taken",
            ),
        ]  # fmt: skip


def make_plan(
    *,
    machine: Machine,
    profile: Profile,
    wish: Wish,
    traits: Traits,
    budget_bytes: int,
    picks: Picks | None = None,
) -> LoaderPlan:
    """Return the plan. Nothing is read, measured or started here.

    What is asked for goes first, then what a probe picked, then policy, profile and dataset; caps
    and budgets lower all of them.

    Args:
        budget_bytes: RAM that loading may take.
        picks: what a probe chose, for `traits.mode`.
    Raises:
        BudgetError: not even two batches fit beside what the mode holds.
    """
    case = Case(within(machine, profile), profile, wish, traits, budget_bytes, picks)
    backend = choose_backend(case)
    workers, prefetch = choose_workers(case, backend.value)
    if backend.value in WITH_WORKERS and workers.value == 0:
        backend = clamped(backend, Backend.inline, workers.reason)
        workers, prefetch = without_workers(case, workers.reason, workers)
    # What a mode holds is there once: worker processes map the same pages.
    total = traits.resident_bytes + in_flight(workers.value, prefetch.value) * traits.batch_bytes
    _check_budget(traits, total, budget_bytes)
    return LoaderPlan(
        backend=backend,
        num_workers=workers,
        prefetch=prefetch,
        pin_memory=choose_pinning(case, backend.value),
        persistent_workers=choose_persistence(case, backend.value),
        start_method=choose_start(case, backend.value),
        batch_bytes=traits.batch_bytes,
        total_bytes=total,
        budget_bytes=budget_bytes,
        missing=tuple(_missing_hardware(machine, profile)),
    )


def _missing_hardware(machine: Machine, profile: Profile) -> list[str]:
    """Return a line for each thing that the profile has and this machine has not."""
    lines = []
    more = f"hardware={profile.name} has more than this machine lets us use"
    if profile.num_cores and profile.num_cores > machine.num_cores:
        lines.append(f"num_cores {profile.num_cores} -> {machine.num_cores}: {more}")
    if _is_less(machine.ram_bytes, profile.ram_bytes):
        lines.append(_sizes("ram_gib", profile.ram_bytes, machine.ram_bytes, more))
    if profile.gpu in (None, NO_GPU):
        return lines
    if machine.gpu is None:
        why = "there is none here, torch cannot use it, or the model runs on the CPU"
        return [*lines, f"gpu {profile.gpu} -> none: {why}"]
    if not is_same_gpu(profile.gpu, machine.gpu):
        why = f"hardware={profile.name} describes another GPU"
        lines.append(f"gpu {profile.gpu} -> {machine.gpu}: {why}")
    if _is_less(machine.gpu_bytes, profile.gpu_bytes):
        lines.append(_sizes("gpu_memory_gib", profile.gpu_bytes, machine.gpu_bytes, more))
    return lines


def is_same_gpu(described: str, found: str) -> bool:
    """Return whether all words of a profile's GPU are in the name that the driver gives.

    "NVIDIA A100" is an "NVIDIA A100-SXM4-80GB", and "NVIDIA GeForce RTX 4090" no "RTX 3090".
    """
    words = found.lower().replace("-", " ").split()
    return all(word in words for word in described.lower().replace("-", " ").split())


def _is_less(found: int, described: int | None) -> bool:
    # Makers' sizes hold what the firmware, the driver and error correction take: a few percent.
    return described is not None and found < 0.9 * described


def _sizes(name: str, described: int | None, found: int, why: str) -> str:
    return f"{name} {(described or 0) / GIB:.1f} -> {found / GIB:.1f}: {why}"


def _check_budget(traits: Traits, total: int, budget: int) -> None:
    if total <= budget:
        return
    if traits.resident_bytes > budget:
        instead = "mode=cached" if traits.mode is Mode.eager else "a smaller mode.window_segments"
    else:
        instead = "a smaller loader.batch_size"
    raise BudgetError(
        f"mode={traits.mode.value} needs {size_text(total)}, the memory budget allows "
        f"{size_text(max(0, budget))}. Use {instead}, or raise memory.fraction or "
        "memory.budget_gib."
    )
