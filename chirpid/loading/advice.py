"""What bound a run, what to change, and what that would bring: one sentence to act on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from chirpid.loading.achieved import Achieved, crowds
from chirpid.loading.plan import in_flight
from chirpid.loading.stages import UNKNOWN, bound_of, phrase
from chirpid.loading.tune.choose import (
    Candidate,
    Limits,
    TrialKey,
    candidates,
    choose,
    rank,
    trial_key,
)
from chirpid.loading.tune.costs import Costs
from chirpid.loading.tune.model import Measured, Prediction, Setting, Work, predict
from chirpid.types import Mode

WORTH = 1.05
"""Less of a gain than this is not worth a change: runs differ by as much."""
LEAST_BATCHES, LEAST_S = 10, 1.0
"""A run of less tells too little to promise anything."""
SPARE = 1.05
"""A budget that is raised is raised by this much more than is needed."""
_GIB = 2**30
_SETTINGS = ("loader.backend", "loader.num_workers", "loader.prefetch")


@dataclass(frozen=True, slots=True)
class Advice:
    """What a run should have been told before it began."""

    sentence: str
    bound: str
    """What bound the run: model, cores (shared by model and loading), decode, resample, front end,
    copy, disk; unknown if it was too short to tell, failed if the figures say nothing."""
    overrides: tuple[str, ...] = ()
    """What to type in addition; empty if nothing is worth a change."""
    predicted_gain: float = 1.0
    """How many times as fast epochs would be; 1 if nothing is worth a change."""
    build_s: float = 0.0
    """Seconds that the change costs once."""

    def as_json(self) -> dict[str, Any]:
        """Return what results.json says of it."""
        plain = asdict(self)
        return {**plain, "overrides": list(self.overrides)}


TOO_SHORT = Advice("The run was too short to say what bound it.", UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What could be chosen from, and what is written down already."""

    limits: Limits
    """What the budgets allow."""
    room: Limits | None = None
    """What the machine would allow, were the budgets raised; None if they are not to be."""
    fixed: Collection[str] = _SETTINGS
    """Settings of the loader that keep their values whatever the mode; others are named when the
    mode changes, as their values would be chosen anew."""
    picks_itself: bool = False
    """With loader=auto: given the mode and the budgets, it finds the rest."""
    cache_gib: float = 0.0
    """As the settings say; a budget is never advised to be lowered."""
    eval_batch_bytes: int = 0
    """Bytes of a batch of validation, where it is the larger."""
    model_threads: int | None = None
    """Of the processor that compute a step; None where a GPU does it."""
    decoding: str = "decoding"
    """What decoding is called: what makes it dear may be worth saying."""


def advise(
    costs: Costs,
    setting: Setting,
    achieved: Achieved,
    work: Work,
    limits: Limits | Ways,
    trials: Mapping[TrialKey, Measured] | None = None,
) -> Advice:
    """Return what bound a run of `setting`, and what would have made it faster.

    Args:
        costs: measured by a probe, or `costs_of` the run itself.
        limits: what may be chosen from. What the run's own mode would have to decode is unknown
            if it kept its rows, and need not be: nothing is faster than rows that are there.
        trials: short trainings under other settings, where there are some.
    """
    ways = limits if isinstance(limits, Ways) else Ways(limits=limits)
    measured = Measured(achieved.batch_s, achieved.wait_share)
    now = _as_it_was(predict(costs, setting, work, measured), achieved, work)
    bound = _bound(achieved, setting, work, ways.model_threads)
    if bound == "model":
        return _nothing(achieved, bound, work, ways)
    known = {**(trials or {}), trial_key(setting): measured}
    asked = _Asked(costs, setting, work, now, known)
    best = asked.best(ways.limits)
    raised: tuple[str, ...] = ()
    if ways.room is not None and (other := asked.best(ways.room)) is not None:
        more = _raised(other.setting, work, ways)
        if more and (best is None or _gain(best.prediction, other.prediction) >= WORTH):
            best, raised = other, more
    if best is None:
        return _nothing(achieved, bound, work, ways)
    overrides = (*_overrides(setting, best.setting, ways), *raised)
    return _change(achieved, bound, work, ways, overrides, best.prediction, now)


def _as_it_was(run: Prediction, achieved: Achieved, work: Work) -> Prediction:
    """Return what a run came to: in its batches, the wait for the first of them is counted."""
    epoch_s = math.ceil(work.train_samples / work.batch_size) * achieved.batch_s
    more_s = work.folds * work.epochs * (run.epoch_s - epoch_s)
    return replace(run, epoch_s=epoch_s, total_s=run.total_s - more_s)


@dataclass(frozen=True, slots=True)
class _Asked:
    costs: Costs
    setting: Setting
    work: Work
    now: Prediction
    trials: Mapping[TrialKey, Measured]

    def best(self, limits: Limits) -> Candidate | None:
        """Return the best of what is allowed, if that is worth a change."""
        possible = candidates(self.work, limits)
        found = [one for one in possible if one.keeps or not self.setting.keeps]
        if not found:
            return None
        best = choose(rank(self.costs, found, self.work, self.trials), self.work)
        whole = self.now.total_s / max(best.prediction.total_s, 1e-12)
        gain = _gain(self.now, best.prediction)
        if best.setting == self.setting or min(gain, whole) < WORTH:
            return None
        return best


def _gain(now: Prediction, then: Prediction) -> float:
    return now.epoch_s / max(then.epoch_s, 1e-12)


def _bound(achieved: Achieved, setting: Setting, work: Work, model_threads: int | None) -> str:
    """Return what the run could not go faster than."""
    if achieved.wait_share >= 0.05:
        return bound_of(_dearest(achieved, work)[0])
    return "cores" if crowds(achieved, setting, work, model_threads) else "model"


def _dearest(achieved: Achieved, work: Work) -> tuple[str, float]:
    """Return the stage that took longest, and its seconds a sample."""
    size = work.batch_size
    parts = {**achieved.core_stages(size), "disk": achieved.disk_s(size)}
    name = max(parts, key=lambda one: parts[one])
    return (name, parts[name]) if parts[name] > 0 else ("copy", 0.0)


def _nothing(achieved: Achieved, bound: str, work: Work, ways: Ways) -> Advice:
    share = 100 * achieved.wait_share
    if bound == "model":
        return Advice(
            f"The model bound this run: it waited {share:.1f} % of the time for batches, so no "
            f"loader makes it more than {_more(achieved.wait_share):.1f} % faster.",
            bound,
        )
    return Advice(
        f"{_blame(achieved, bound)}, {_most(achieved, work, ways)}. No other loader setting within "
        "the budgets is predicted to be faster.",
        bound,
    )


def _more(wait_share: float) -> float:
    """Return by how many percent a run is faster that does not wait."""
    return 100 * wait_share / max(1 - wait_share, 1e-9)


def _change(
    achieved: Achieved,
    bound: str,
    work: Work,
    ways: Ways,
    overrides: tuple[str, ...],
    then: Prediction,
    now: Prediction,
) -> Advice:
    gain = _gain(now, then)
    once = f", after {then.build_s:.0f} s of building, once" if then.build_s >= 0.5 else ""
    sentence = (
        f"{_blame(achieved, bound)}, {_most(achieved, work, ways)}. "
        f"Use {' '.join(overrides)}: epochs are predicted to be {gain:.1f} times as fast{once}."
    )
    return Advice(sentence, bound, overrides, gain, then.build_s)


def _blame(achieved: Achieved, bound: str) -> str:
    if bound == "cores":
        return "Model and loader shared the cores, and each slowed the other down"
    return f"The loader bound this run: the model waited {100 * achieved.wait_share:.0f} % of it"


def _most(achieved: Achieved, work: Work, ways: Ways) -> str:
    name, seconds = _dearest(achieved, work)
    what = ways.decoding if name == "decode" else phrase(name)
    return f"most of loading being {what} ({1e3 * seconds:.2f} ms a sample)"


def _overrides(now: Setting, then: Setting, ways: Ways) -> tuple[str, ...]:
    """Return what to type to get from one setting to another."""
    found = [] if now.mode is then.mode else [f"mode={then.mode.value}"]
    if ways.picks_itself and found:
        return tuple(found)

    def told(name: str, before: object, after: object) -> bool:
        return before != after or (bool(found) and name not in ways.fixed)

    backend = [f"loader.backend={then.backend.value}"]
    numbers = []
    if then.num_workers:
        if told("loader.num_workers", now.num_workers, then.num_workers):
            numbers.append(f"loader.num_workers={then.num_workers}")
        if told("loader.prefetch", now.prefetch, then.prefetch):
            numbers.append(f"loader.prefetch={then.prefetch}")
    elif now.num_workers and "loader.num_workers" in ways.fixed:
        numbers.append("loader.num_workers=0")  # or it would ask for workers that there are not
    names_it = told("loader.backend", now.backend, then.backend)
    return (*found, *(backend if names_it else []), *numbers)


def _raised(setting: Setting, work: Work, ways: Ways) -> tuple[str, ...]:
    """Return the budgets that a setting needs raised."""
    limits, found = ways.limits, []
    writes = setting.mode is Mode.cached and not work.cached_already
    if writes and work.store_bytes > limits.disk_bytes:
        found.append(f"mode.cache_gib={_gib(max(work.store_bytes, ways.cache_gib * _GIB))}")
    resident = work.store_bytes if setting.mode is Mode.eager else 0
    batches = in_flight(setting.num_workers, setting.prefetch)
    if resident + batches * work.batch_bytes > limits.ram_bytes:
        need = resident + batches * max(work.batch_bytes, ways.eval_batch_bytes)
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
