"""Which settings are possible within the budgets, which are worth a trial, and which is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from chirpid.loading.plan import in_flight
from chirpid.loading.tune.costs import Costs
from chirpid.loading.tune.model import Measured, Prediction, Setting, Work, batch_seconds, predict
from chirpid.types import Backend, Mode, size_text

HYSTERESIS = 0.03
"""A setting must save this share of the time before it is taken over a simpler one."""
CLOSE = 1.35
"""Settings within this factor of the best prediction are worth a trial."""
_SIMPLE_MODES = (Mode.cached, Mode.eager, Mode.lazy, Mode.streaming)
_SHORT_OF_RAM = (Mode.eager, Mode.cached, Mode.lazy, Mode.streaming)
_SIMPLE_BACKENDS = (Backend.inline, Backend.device, Backend.threads, Backend.processes)
_PREFETCH = 4

Trials = Mapping["TrialKey", Measured]


@dataclass(frozen=True, slots=True)
class TrialKey:
    """What settings have in common that train at the same speed once their rows are there."""

    kept: bool
    backend: Backend
    num_workers: int
    prefetch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be chosen from, and what it may take."""

    modes: tuple[Mode, ...] = (Mode.cached, Mode.eager, Mode.lazy)
    backends: tuple[Backend, ...] = (Backend.inline, Backend.threads, Backend.processes)
    num_workers: int | None = None
    """As the user set it; None is chosen."""
    prefetch: int | None = None
    """As the user set it; None is chosen."""
    max_workers: int = 16
    ram_bytes: int = 2**62
    disk_bytes: int = 2**62
    """Room for a new cache: the budget of caches, and what the disk has free."""
    device_bytes: int = 0
    """Free memory of the GPU beside the model; 0 without one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A setting and what it would come to."""

    setting: Setting
    prediction: Prediction


def trial_key(setting: Setting) -> TrialKey:
    """Return what a trial of a setting is kept under."""
    return TrialKey(setting.keeps, setting.backend, setting.num_workers, setting.prefetch)


def candidates(work: Work, limits: Limits) -> list[Setting]:
    """Return the settings that fit the budgets, the simplest first; none if nothing fits."""
    found = [
        Setting(mode, backend, workers, prefetch)
        for mode in limits.modes
        for backend in limits.backends
        for workers, prefetch in _numbers(backend, limits)
    ]
    fitting = [one for one in found if refusal(one, work, limits) is None]
    return sorted(fitting, key=lambda one: simplicity(one, work))


def held_bytes(setting: Setting, work: Work) -> int:
    """Return the RAM that a setting takes, as a plan counts it: rows that are held, and batches."""
    resident = {Mode.eager: work.store_bytes, Mode.streaming: work.window_bytes}
    batches = in_flight(setting.num_workers, setting.prefetch)
    return resident.get(setting.mode, 0) + batches * max(work.batch_bytes, work.eval_batch_bytes)


def refusal(setting: Setting, work: Work, limits: Limits) -> str | None:
    """Return why a setting is not possible, in a few words, or None."""
    if (need := held_bytes(setting, work)) > limits.ram_bytes:
        return f"needs {size_text(need)} of RAM, {size_text(limits.ram_bytes)} are allowed"
    writes = setting.mode is Mode.cached and not work.cached_already
    if writes and work.store_bytes > limits.disk_bytes:
        return (
            f"needs {size_text(work.store_bytes)} of disk, {size_text(limits.disk_bytes)} are "
            "allowed or free"
        )
    if setting.backend is Backend.device:
        if setting.mode is not Mode.eager:
            return "only mode=eager holds the set in one piece"
        if work.store_bytes > limits.device_bytes:
            return (
                f"needs {size_text(work.store_bytes)} of the GPU, "
                f"{size_text(limits.device_bytes)} are free beside the model"
            )
    if setting.backend is Backend.processes and setting.mode is Mode.eager:
        return "rows in shared memory; mode=cached shares them without"
    return None


def refused_modes(work: Work, limits: Limits) -> list[str]:
    """Return a line for each mode that no setting of is possible."""
    lines = []
    for mode in limits.modes:
        tried = [
            refusal(Setting(mode, backend, workers, prefetch), work, limits)
            for backend in limits.backends
            for workers, prefetch in _numbers(backend, limits)
        ]
        why = next((reason for reason in tried if reason), None)
        if all(tried) and why:
            lines.append(f"mode={mode.value} {why}")
    return lines


def simplicity(setting: Setting, work: Work) -> tuple[int, int, int, int]:
    """Return what settings are sorted by: the simpler of two equal ones is taken.

    Where RAM does not hold what a build reads, pages of a map are not sure to stay: rows of our
    own are then the simpler thing.
    """
    modes = _SIMPLE_MODES if work.recordings_stay else _SHORT_OF_RAM
    return (
        _SIMPLE_BACKENDS.index(setting.backend),
        modes.index(setting.mode),
        setting.num_workers,
        setting.prefetch,
    )


def rank(
    costs: Costs, settings: Iterable[Setting], work: Work, trials: Trials | None = None
) -> list[Candidate]:
    """Return what each setting would come to, the fastest first, the simpler of equals first."""
    known, found = trials or {}, []
    for one in settings:
        key = trial_key(one)
        slowdown = 1.0 if key in known else _slowdown(costs, key, work, known)
        predicted = predict(costs, one, work, known.get(key), slowdown=slowdown)
        found.append(Candidate(one, predicted))
    return sorted(found, key=lambda c: (c.prediction.total_s, simplicity(c.setting, work)))


def _slowdown(costs: Costs, key: TrialKey, work: Work, trials: Trials) -> float:
    """Return by how much settings like this one took longer in trials than by the model; 1 if none
    was tried."""
    ratios = []
    for tried, measured in trials.items():
        if (tried.kept, bool(tried.num_workers)) == (key.kept, bool(key.num_workers)):
            mode = Mode.eager if tried.kept else Mode.lazy
            like = Setting(mode, tried.backend, tried.num_workers, tried.prefetch)
            ratios.append(measured.batch_s / max(batch_seconds(costs, like, work), 1e-12))
    return sum(ratios) / len(ratios) if ratios else 1.0


def choose(ranked: Sequence[Candidate], work: Work) -> Candidate:
    """Return what is taken: the simplest of those that are as good as the fastest.

    Where trials were made, only what was tried is taken, unless nothing that was is near.
    """
    best = ranked[0].prediction.total_s
    near = [c for c in ranked if c.prediction.total_s <= best * (1 + HYSTERESIS)]
    tried = [c for c in near if c.prediction.tried]
    return min(tried or near, key=lambda c: simplicity(c.setting, work))


def worth_trying(ranked: Sequence[Candidate], work: Work, at_most: int) -> list[Setting]:
    """Return the best settings that train differently, one of each, for a short training each.

    The simplest backend is always among them: it is what others must be better than.
    """
    # Worker processes take longer to start than a trial lasts.
    ranked = [c for c in ranked if c.setting.backend is not Backend.processes]
    if not ranked:
        return []
    best = ranked[0].prediction.total_s
    found: dict[TrialKey, Candidate] = {}
    for one in ranked:
        if one.prediction.total_s <= best * CLOSE:
            found.setdefault(trial_key(one.setting), one)
    chosen = list(found.values())[:at_most]
    if len(found) > at_most:
        simplest = min(found.values(), key=lambda c: simplicity(c.setting, work))
        if simplest not in chosen:
            chosen[-1] = simplest
    return [one.setting for one in chosen] if len(found) > 1 else [ranked[0].setting]


def narrowed(limits: Limits, *, modes: Sequence[Mode]) -> Limits:
    """Return limits with fewer modes."""
    return replace(limits, modes=tuple(m for m in limits.modes if m in modes))


def _numbers(backend: Backend, limits: Limits) -> list[tuple[int, int]]:
    """Return the worker counts and prefetch depths that a backend may have."""
    if backend in (Backend.inline, Backend.device):
        return [(0, 1)]
    if limits.num_workers is not None:
        counts = [limits.num_workers] if limits.num_workers else []
    else:
        counts = _counts(limits.max_workers)
    depths = [limits.prefetch] if limits.prefetch is not None else [2, _PREFETCH]
    return [(workers, depth) for workers in counts for depth in depths]


def _counts(most: int) -> list[int]:
    """Return worker counts worth comparing, up to `most`: each about a third above the last."""
    counts, count = [], 1
    while count < most:
        counts.append(count)
        count = max(count + 1, count * 4 // 3)
    return [*counts, most] if most > 0 else []
