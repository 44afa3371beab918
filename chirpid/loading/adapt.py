"""Another plan between two epochs when the figures of the last ask for it, kept if it helps.

What is changed is who fetches, how many and how far ahead: batches and scores stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from statistics import median

from chirpid.loading.changes import Shape, altered, difference, shape_of
from chirpid.loading.memory import Adjustable
from chirpid.types import Backend

STARVING = 0.05
"""Share of an epoch that the model waits, from which on more loading is worth a try."""
FED = 0.01
"""Share below which less loading is worth a try."""
FREE_CORES = 0.25
"""Cores that must be idle, on average over an epoch, before a worker is added."""
FULL = 0.95
"""Share of the cores from which on they count as all busy."""
SLACK = 1.5
"""Workers are kept for so many times the work that they do."""
MOST_PREFETCH = 16
MIN_GAIN = 0.03
"""An epoch differs from the next by a percent or two without a cause."""
TRIAL_EPOCHS = 2
"""What did not help in one epoch gets another: something else may have used the machine."""
MIN_EPOCH_S = 1.0
MIN_BATCHES = 8
"""Shorter epochs say nothing: the first batch is most of them."""
WORKERS = (Backend.threads, Backend.processes)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What an epoch told."""

    samples_per_s: float
    wait_share: float
    occupancy: float
    """Share of the requests that found their batch ready."""
    busy_cores: float
    loading_cores: float
    """Cores that making the samples took, on average."""


def seen_in(figures: Mapping[str, float]) -> Seen | None:
    """Return what the figures of an epoch tell, named as the monitor names them."""
    rate = figures.get("loader/samples_per_s", 0.0)
    if not rate:
        return None
    stages = [
        value
        for name, value in figures.items()
        if name.startswith("loader/") and name.endswith("_ms_per_sample")
    ]
    return Seen(
        samples_per_s=rate,
        wait_share=figures.get("loader/wait_share", 0.0),
        occupancy=figures.get("loader/occupancy", 1.0),
        busy_cores=figures.get("loader/cpu_share", 0.0),
        loading_cores=sum(stages) / 1e3 * rate,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a changed plan must keep to."""

    num_cores: int
    max_workers: int
    max_batches: int
    """Batches in flight that the memory budget has room for."""
    model_on_cpu: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """Another shape, and why it is worth a try."""

    shape: Shape
    why: str
    saves: bool = False
    """It takes less: it is kept if it costs no speed."""


def propose(seen: Seen, now: Shape, limits: Limits, tried: Collection[Shape]) -> Proposal | None:
    """Return the change that the figures ask for, or None. Nothing of `tried` comes back."""
    for proposal in _ideas(seen, now, limits):
        shape = proposal.shape
        fits = shape.num_batches <= max(limits.max_batches, now.num_batches)
        if shape != now and shape not in tried and fits:
            return proposal
    return None


def _ideas(seen: Seen, now: Shape, limits: Limits) -> list[Proposal]:
    if now.backend is Backend.device:
        return []
    if seen.wait_share >= STARVING:
        return _more(seen, now, limits)
    if now.backend not in WORKERS or now.num_workers < 2:
        return []
    return _fewer(seen, now, limits)


def _more(seen: Seen, now: Shape, limits: Limits) -> list[Proposal]:
    """Return what may feed a model that waits."""
    waits = f"the model waits {seen.wait_share:.0%} of the time"
    if now.backend is Backend.inline:
        beside = Shape(Backend.threads, 1, 2)
        return [Proposal(beside, f"{waits}: a thread can fetch beside it")]
    ideas = []
    # Threads that spin after a step count as busy: while the model waits, only workers work.
    while_waiting = seen.wait_share * (limits.num_cores - now.num_workers)
    idle = max(limits.num_cores - seen.busy_cores, while_waiting)
    workers = min(now.num_workers + max(1, now.num_workers // 4), limits.max_workers,
                  limits.num_cores)  # fmt: skip
    if idle >= FREE_CORES and workers > now.num_workers:
        why = f"{waits} and {idle:.1f} of {limits.num_cores} cores are idle"
        ideas.append(Proposal(replace(now, num_workers=workers), why))
    enough = seen.loading_cores < now.num_workers * (1 - seen.wait_share)
    if enough and seen.occupancy > 0.2 and now.prefetch < MOST_PREFETCH:
        why = f"{waits}, although the workers have time left: some batches take longer than others"
        deeper = replace(now, prefetch=min(2 * now.prefetch, MOST_PREFETCH))
        ideas.append(Proposal(deeper, why))
    return ideas


def _fewer(seen: Seen, now: Shape, limits: Limits) -> list[Proposal]:
    """Return what may take less from the model, or from others."""
    needed = max(1, math.ceil(SLACK * seen.loading_cores))
    if seen.wait_share < FED and needed < now.num_workers:
        why = f"loading keeps {seen.loading_cores:.1f} of {now.num_workers} workers busy"
        return [Proposal(replace(now, num_workers=needed), why, saves=True)]
    full = seen.busy_cores >= FULL * limits.num_cores
    if limits.model_on_cpu and full:
        why = f"the model shares all {limits.num_cores} cores with {now.num_workers} workers"
        return [Proposal(replace(now, num_workers=now.num_workers - 1), why, saves=True)]
    return []


@dataclass(frozen=True, slots=True)
class _Trial:
    proposal: Proposal
    before: Shape
    before_per_s: float
    num_epochs: int = 0
    best_per_s: float = 0.0


class Adapter:
    """Changes the plan of a loader between epochs, and takes back what brought nothing.

    Args:
        may_grow: whether there is memory to ask for more; asked before each proposal.
        say: told what a change brought.
    """

    def __init__(
        self,
        loader: Adjustable,
        limits: Limits,
        *,
        may_grow: Callable[[], bool] = lambda: True,
        say: Say | None = None,
    ) -> None:
        self.loader, self.limits, self.may_grow, self.say = loader, limits, may_grow, say
        self._rates: list[float] = []
        self._tried: set[Shape] = set()
        self._trial: _Trial | None = None
        self._shape: Shape | None = None
        self._warm = False

    def epoch_done(self, figures: Mapping[str, float], *, seconds: float, num_batches: int) -> None:
        """Take the figures of an epoch; change the plan if they ask for it.

        Args:
            seconds, num_batches: how long the epoch was; a short one says nothing.
        """
        seen, plan = seen_in(figures), self.loader.plan
        if plan is None or seen is None or seconds < MIN_EPOCH_S or num_batches < MIN_BATCHES:
            return
        if not self._warm:  # the first epoch reads cold files and starts libraries
            self._warm = True
            return
        now = shape_of(plan)
        if now != self._shape:  # somebody else has changed it
            self._shape, self._trial, self._rates = now, None, []
        self._rates = [*self._rates[-2:], seen.samples_per_s]
        if self._trial is not None and not self._judge(self._trial, seen):
            return
        self._try_next(seen, now)

    def _try_next(self, seen: Seen, now: Shape) -> None:
        plan = self.loader.plan
        proposal = propose(seen, now, self.limits, self._tried)
        if plan is None or proposal is None:
            return
        if proposal.shape.num_batches > now.num_batches and not self.may_grow():
            return
        self._tried |= {proposal.shape, now}
        self._trial = _Trial(proposal, now, median(self._rates))
        self._go_to(proposal.shape, proposal.why)

    def _judge(self, trial: _Trial, seen: Seen) -> bool:
        """Keep or take back what was tried, or wait for another epoch; return whether it stays."""
        best, num_epochs = max(trial.best_per_s, seen.samples_per_s), trial.num_epochs + 1
        gain = best / trial.before_per_s - 1
        what = difference(trial.before, trial.proposal.shape)
        rates = f"{trial.before_per_s:.0f} -> {best:.0f} segments/s"
        helped = gain >= (-MIN_GAIN if trial.proposal.saves else MIN_GAIN)
        if not helped and num_epochs < TRIAL_EPOCHS:
            self._trial = replace(trial, num_epochs=num_epochs, best_per_s=best)
            return False
        self._trial = None
        if not helped:
            why = f"taken back: {what} brought {gain:+.0%}, {rates}"
            self._go_to(trial.before, why)
            return False
        if self.say:
            self.say(f"loader.adapt: {what} brought {gain:+.0%}, {rates}")
        return True

    def _go_to(self, shape: Shape, why: str) -> None:
        plan = self.loader.plan
        assert plan is not None
        self.loader.change(altered(plan, shape, "loader.adapt", why), why)
        self._shape, self._rates = shape, []
