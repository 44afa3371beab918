"""What bound a run, what to change, and what that would bring: one sentence to act on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from chirpid.loading.achieved import Achieved, crowds
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
from chirpid.loading.ways import Ways, overrides_of, raised_budgets

WORTH = 1.05
"""Less of a gain than this is not worth a change: runs differ by as much."""
BUSY = 0.1
"""From this share of the cores on that others had, times say little of a run alone."""
LEAST_BATCHES, LEAST_S = 10, 1.0
"""A run of less tells too little to promise anything."""


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
    others_share: float = 0.0
    """Share that other programs had of the core time that the run was ready to use: from `BUSY` on
    the sentence promises no figure, and the others here are of a machine that nobody else uses."""

    def as_json(self) -> dict[str, Any]:
        """Return what results.json says of it."""
        plain = asdict(self)
        return {**plain, "overrides": list(self.overrides)}


TOO_SHORT = Advice("The run was too short to say what bound it.", UNKNOWN)


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
    asked = _Asked(costs, setting, work, now, known, ways.left)
    best = asked.best(ways.limits)
    raised: tuple[str, ...] = ()
    if ways.room is not None and (other := asked.best(ways.room)) is not None:
        more = raised_budgets(other.setting, work, ways)
        if more and (best is None or _gain(best.prediction, other.prediction) >= WORTH):
            best, raised = other, more
    if best is None:
        return _nothing(achieved, bound, work, ways)
    overrides = (*overrides_of(setting, best.setting, ways), *raised)
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
    left: Collection[Setting]

    def best(self, limits: Limits) -> Candidate | None:
        """Return the best of what is allowed, if that is worth a change."""
        possible = candidates(self.work, limits)
        found = [one for one in possible
                 if (one.keeps or not self.setting.keeps) and one not in self.left]  # fmt: skip
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
    share = achieved.others_share(work.num_cores)
    sentence = (
        f"{_blame(achieved, bound)}, {_most(achieved, work, ways)}. "
        f"Use {' '.join(overrides)}: epochs are predicted to be {_promise(gain, then, share)}."
    )
    return Advice(sentence, bound, overrides, gain, then.build_s, round(share, 4))


def _promise(gain: float, then: Prediction, others_share: float) -> str:
    """Return what a change brings and costs: no figure where others had much of the cores."""
    is_busy, builds = others_share >= BUSY, then.build_s >= 0.5
    least = "at least " if is_busy else ""
    once = f", after {least}{then.build_s:.0f} s of building, once" if builds else ""
    if not is_busy:
        return f"{gain:.1f} times as fast{once}"
    return (
        f"faster{once}; by how much cannot be told, as other programs had {others_share:.0%} of "
        "the core time that this run was ready to use"
    )


def _blame(achieved: Achieved, bound: str) -> str:
    if bound == "cores":
        return "Model and loader shared the cores, and each slowed the other down"
    return f"The loader bound this run: the model waited {100 * achieved.wait_share:.0f} % of it"


def _most(achieved: Achieved, work: Work, ways: Ways) -> str:
    name, seconds = _dearest(achieved, work)
    what = ways.decoding if name == "decode" else phrase(name)
    return f"most of loading being {what} ({1e3 * seconds:.2f} ms a sample)"
