"""The decision how batches are fetched: a pure function, with a reason for every field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chirpid.errors import BudgetError
from chirpid.loading.hardware import Machine
from chirpid.loading.inputs import Picks, Profile, Traits, Wish
from chirpid.types import Backend, Mode, Policy, StartMethod, size_text

__all__ = [
    "Decision", "LoaderPlan", "Picks", "Profile", "Traits", "Wish", "in_flight", "make_plan",
]  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """A value, who decided it, and why."""

    value: T
    source: str
    """profile, policy, dataset, machine, probe, clamp or override"""
    reason: str


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
    clamps: tuple[str, ...] = field(default=())
    """One line for every wish that the machine or the set did not allow."""

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return (setting, value, source, reason) of every field, for a table."""
        names = ("backend", "num_workers", "prefetch", "pin_memory", "persistent_workers",
                 "start_method")  # fmt: skip
        decisions = [(name, getattr(self, name)) for name in names]
        return [(n, str(d.value), d.source, d.reason) for n, d in decisions]


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

    Args:
        budget_bytes: RAM that loading may take.
        picks: what a probe chose, for `traits.mode`; it goes before policy and profile, after
            `wish`, and is clamped like both.
    Raises:
        BudgetError: not even two batches fit beside what the mode holds.
    """
    clamps = _missing_hardware(machine, profile)
    backend = _backend(machine, wish, traits, picks, clamps)
    workers = _workers(machine, profile, wish, traits, picks, backend.value, clamps)
    prefetch = _prefetch(profile, wish, traits, picks, backend.value)
    workers, prefetch = _fit(workers, prefetch, traits, budget_bytes, clamps)
    if workers.value == 0 and backend.value in (Backend.threads, Backend.processes):
        clamps.append(f"backend {backend.value.value} -> inline: {workers.reason}")
        backend = Decision(Backend.inline, "clamp", workers.reason)
        prefetch = _prefetch(profile, wish, traits, picks, Backend.inline)
    total = _total(workers.value, prefetch.value, traits)
    _check_budget(traits, total, budget_bytes)
    return LoaderPlan(
        backend=backend,
        num_workers=workers,
        prefetch=prefetch,
        pin_memory=_pin(machine, profile, wish, backend.value, clamps),
        persistent_workers=_persistent(profile, wish, workers.value),
        start_method=_start_method(wish, backend.value),
        batch_bytes=traits.batch_bytes,
        total_bytes=total,
        clamps=tuple(clamps),
    )


def _missing_hardware(machine: Machine, profile: Profile) -> list[str]:
    """Return a line for each thing that the profile has and this machine has not."""
    lines = []
    if profile.num_cores and profile.num_cores > machine.num_cores:
        lines.append(
            f"num_cores {profile.num_cores} -> {machine.num_cores}: hardware={profile.name} has "
            "more than this machine lets us use"
        )
    if profile.gpu and machine.gpu is None:
        lines.append(f"gpu {profile.gpu} -> none: this machine has no GPU, or torch cannot use it")
    return lines


def in_flight(num_workers: int, prefetch: int) -> int:
    """Return the batches that exist at once: in preparation, and two with the caller."""
    return max(1, num_workers) * prefetch + 2 if num_workers else 2


def _total(num_workers: int, prefetch: int, traits: Traits) -> int:
    # What a mode holds is there once: worker processes map the same pages.
    return traits.resident_bytes + in_flight(num_workers, prefetch) * traits.batch_bytes


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


def _backend(
    machine: Machine, wish: Wish, traits: Traits, picks: Picks | None, clamps: list[str]
) -> Decision[Backend]:
    kept = traits.mode in (Mode.eager, Mode.cached)
    wanted = wish.backend
    if wanted is Backend.auto and picks is not None and not _asks_for_other(wish, picks):
        if picks.backend is not Backend.device:
            return Decision(picks.backend, "probe", picks.reason)
        problem = _device_problem(machine, traits)
        if problem is None:
            return Decision(Backend.device, "probe", picks.reason)
        clamps.append(f"backend device -> auto: {problem}")
    elif wanted is Backend.auto and wish.policy is Policy.device:
        wanted = Backend.device
    if wanted is Backend.device:
        problem = _device_problem(machine, traits)
        if problem is None:
            source = "override" if wish.backend is Backend.device else "policy"
            return Decision(Backend.device, source, "the whole set lives on the GPU")
        clamps.append(f"backend device -> auto: {problem}")
        wanted = Backend.auto
    if wanted is not Backend.auto:
        return Decision(wanted, "override", "loader.backend")
    if wish.num_workers == 0:
        return Decision(Backend.inline, "override", "loader.num_workers=0")
    fits_gpu = _device_problem(machine, traits) is None
    if wish.policy is Policy.auto and fits_gpu:
        return Decision(Backend.device, "policy", "the set fits on the GPU beside the model")
    if wish.num_workers:
        return Decision(Backend.threads, "override", "loader.num_workers asks for workers")
    if wish.policy is Policy.safe:
        return Decision(Backend.inline, "policy", "safe: no threads, no processes")
    if kept and wish.policy is Policy.aggressive and machine.num_cores > 1:
        return Decision(Backend.threads, "policy", "gathers overlap with the training step")
    if traits.beyond_ram:
        return Decision(Backend.threads, "dataset", "rows come from the disk while the model works")
    if kept:
        return Decision(Backend.inline, "dataset", "a gather is quicker than handing it over")
    return Decision(Backend.threads, "dataset", "decoders release the GIL; threads start at once")


def _asks_for_other(wish: Wish, picks: Picks) -> bool:
    """Return whether a number of workers was asked for that the picked backend cannot have."""
    has_workers = picks.backend in (Backend.threads, Backend.processes)
    return wish.num_workers is not None and has_workers != (wish.num_workers > 0)


def _device_problem(machine: Machine, traits: Traits) -> str | None:
    if machine.gpu is None:
        return "there is no GPU"
    if traits.mode is not Mode.eager:
        return f"mode={traits.mode.value} does not hold the set; use mode=eager"
    if traits.store_bytes > machine.gpu_bytes // 2:
        return (
            f"the set needs {size_text(traits.store_bytes)}, half of the GPU is "
            f"{size_text(machine.gpu_bytes / 2)}"
        )
    return None


def _workers(
    machine: Machine,
    profile: Profile,
    wish: Wish,
    traits: Traits,
    picks: Picks | None,
    backend: Backend,
    clamps: list[str],
) -> Decision[int]:
    if backend in (Backend.inline, Backend.device):
        return Decision(0, "dataset", f"backend {backend.value} fetches in the caller")
    if wish.num_workers is not None:
        if wish.num_workers == 0:
            clamps.append(f"num_workers 0 -> 1: loader.backend={backend.value} has workers")
        wanted = Decision(max(1, wish.num_workers), "override", "loader.num_workers")
    elif picks is not None and picks.num_workers:
        wanted = Decision(picks.num_workers, "probe", picks.reason)
    else:
        wanted = _profile_workers(machine, profile, wish, traits)
    value, source, reason = wanted.value, wanted.source, wanted.reason
    caps = [
        (machine.num_cores, f"this machine has {machine.num_cores} usable cores"),
        (profile.max_workers, f"hardware.max_workers={profile.max_workers}"),
    ]
    if machine.free_bytes < profile.low_memory_bytes:
        caps.append((profile.max_workers_low_memory, f"{size_text(machine.free_bytes)} free"))
    # The rule of thumb for small sets does not overrule what was asked for, nor what was measured.
    if wanted.source not in ("override", "probe") and (
        traits.num_segments < profile.small_set_samples
    ):
        caps.append((profile.max_workers_small, f"only {traits.num_segments} segments"))
    for cap, why in caps:
        if value > cap:
            clamps.append(f"num_workers {value} -> {cap}: {why}")
            value, source, reason = cap, "clamp", why
    return Decision(value, source, reason)


def _profile_workers(
    machine: Machine, profile: Profile, wish: Wish, traits: Traits
) -> Decision[int]:
    named = profile.num_workers_heavy if traits.heavy else profile.num_workers_light
    cores = profile.num_cores or machine.num_cores
    if named is not None:
        kind = "heavy" if traits.heavy else "light"
        value, source = named, "profile"
        reason = f"{profile.name}: {named} workers for {kind} work"
    else:
        share = 1.0 if wish.policy is Policy.aggressive else profile.core_fraction
        value, source = max(1, int(cores * share)), "machine"
        reason = f"{share:.0%} of {cores} cores"
    if traits.num_segments > profile.large_set_samples:
        more = max(value, min(value + profile.extra_workers_large, profile.max_workers))
        reason += f", {more - value} more above {profile.large_set_samples} segments"
        value = more
    if wish.policy is Policy.safe:
        return Decision(min(value, 1), "policy", "safe: one worker")
    return Decision(value, source, reason)


def _prefetch(
    profile: Profile, wish: Wish, traits: Traits, picks: Picks | None, backend: Backend
) -> Decision[int]:
    if backend in (Backend.inline, Backend.device):
        return Decision(1, "dataset", f"backend {backend.value} does not fetch ahead")
    if wish.prefetch is not None:
        return Decision(wish.prefetch, "override", "loader.prefetch")
    if picks is not None:
        return Decision(max(1, picks.prefetch), "probe", picks.reason)
    value = profile.prefetch_heavy if traits.heavy else profile.prefetch_light
    if wish.policy is Policy.safe:
        return Decision(min(2, value), "policy", "safe: little memory")
    if wish.policy is Policy.aggressive:
        return Decision(2 * value, "policy", "aggressive: twice the profile's")
    return Decision(value, "profile", f"{profile.name}: batches per worker")


def _fit(
    workers: Decision[int],
    prefetch: Decision[int],
    traits: Traits,
    budget_bytes: int,
    clamps: list[str],
) -> tuple[Decision[int], Decision[int]]:
    """Lower prefetch, then workers, until the batches in flight fit the budget."""
    room = max(0, budget_bytes - traits.resident_bytes)
    why = f"batches of {size_text(traits.batch_bytes)}, {size_text(room)} to spend"
    while workers.value and (_total(workers.value, prefetch.value, traits) > budget_bytes):
        if prefetch.value > 1:
            prefetch = Decision(prefetch.value - 1, "clamp", why)
        else:
            workers = Decision(workers.value - 1, "clamp", why)
    if workers.source == "clamp" and workers.reason == why:
        clamps.append(f"num_workers -> {workers.value}: {why}")
    if prefetch.source == "clamp":
        clamps.append(f"prefetch -> {prefetch.value}: {why}")
    return workers, prefetch


def _pin(
    machine: Machine, profile: Profile, wish: Wish, backend: Backend, clamps: list[str]
) -> Decision[bool]:
    wanted = profile.pin_memory if wish.pin_memory is None else wish.pin_memory
    source = "profile" if wish.pin_memory is None else "override"
    if backend is Backend.device:
        return Decision(False, "dataset", "batches are made on the GPU")
    if wanted and machine.gpu is None:
        if wish.pin_memory:
            clamps.append("pin_memory true -> false: there is no GPU to copy to")
        return Decision(False, "clamp", "there is no GPU to copy to")
    if not wanted:
        where = "loader" if source == "override" else "hardware"
        return Decision(False, source, f"{where}.pin_memory=false")
    return Decision(True, source, "page-locked batches copy to the GPU while it computes")


def _persistent(profile: Profile, wish: Wish, num_workers: int) -> Decision[bool]:
    if num_workers == 0:
        return Decision(False, "dataset", "there are no workers")
    if wish.persistent_workers is not None:
        return Decision(wish.persistent_workers, "override", "loader.persistent_workers")
    return Decision(profile.persistent_workers, "profile", "workers outlive epochs and folds")


def _start_method(wish: Wish, backend: Backend) -> Decision[StartMethod]:
    if backend is not Backend.processes:
        return Decision(StartMethod.auto, "dataset", "there are no worker processes")
    if wish.start_method is not StartMethod.auto:
        return Decision(wish.start_method, "override", "loader.start_method")
    # fork copies locks that other threads hold; the tracker's sender is such a thread.
    return Decision(StartMethod.forkserver, "policy", "safe beside threads and CUDA")
