"""What bound a run, what to change, and what that would bring: one sentence to act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chirpid.loading.tune.choose import Limits, candidates, choose, rank
from chirpid.loading.tune.costs import SHARED_BYTES_PER_S, THREAD_HAND_OVER_S, Costs
from chirpid.loading.tune.model import Measured, Prediction, Setting, Work, predict
from chirpid.types import Backend

WORTH = 1.05
"""Less of a gain than this is not worth a change: runs differ by as much."""
GATHER_BYTES_PER_S, WRITE_BYTES_PER_S = 4e9, 200e6
"""Rates of copying kept rows and of writing a store, where the run did neither: low ones, so that
what is promised is rather too little."""
_STAGES = {"decode": "decoding", "resample": "resampling", "frontend": "the front end",
           "gather": "copying rows", "read": "reading rows"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Advice:
    """What a run should have been told before it began."""

    sentence: str
    bound: str
    """What bound the run: model, cores, loader."""
    overrides: tuple[str, ...]
    """What to type; empty if nothing is worth a change."""
    predicted_gain: float
    """How many times as fast the same run would be, stores already built not counted; 1 if
    nothing is worth a change."""
    build_s: float = 0.0
    """Seconds that the change costs once."""


@dataclass(frozen=True, slots=True)
class Achieved:
    """What a training came to, from the monitor's figures of its epochs."""

    batch_s: float
    wait_share: float
    stage_s: Mapping[str, float]
    """Seconds a sample of each stage of fetching, in whoever fetched."""
    cpu_cores: float
    """Cores that the program kept busy, workers included."""

    @classmethod
    def of(cls, figures: Mapping[str, float], batch_size: int) -> Achieved:
        """Return what figures named as in MLflow say."""
        suffix = "_ms_per_sample"
        stages = {
            name.removeprefix("loader/").removesuffix(suffix): value / 1e3
            for name, value in figures.items()
            if name.endswith(suffix)
        }
        return cls(
            batch_s=batch_size / max(figures["loader/samples_per_s"], 1e-9),
            wait_share=figures["loader/wait_share"],
            stage_s={name: s for name, s in stages.items() if name in _STAGES},
            cpu_cores=figures.get("loader/cpu_share", 0.0),
        )

    @property
    def load_s(self) -> float:
        """Seconds a sample of fetching."""
        return sum(self.stage_s.values())


def costs_of(achieved: Achieved, setting: Setting, work: Work, load_core_s: float | None) -> Costs:
    """Return what a run's own figures say of costs; what it never did is taken from plain rates.

    Args:
        load_core_s: core-seconds a sample of fetching; None if they were not measured.
    """
    stage_s, load_s = dict(achieved.stage_s), achieved.load_s
    core_s = load_s if load_core_s is None else min(load_core_s, load_s)
    waited_s = load_s - core_s  # for the disk: the rest of the time the reader was off its core
    if stage_s.get("decode", 0.0) > 0 and load_s > 0:
        stage_s["decode"] = max(0.0, stage_s["decode"] - waited_s)
    step_s = achieved.batch_s * (1 - achieved.wait_share)
    batch_core_s = achieved.cpu_cores * achieved.batch_s - work.batch_size * core_s
    row_bytes = work.store_bytes / max(1, work.num_samples)
    out_bytes = work.batch_bytes / max(1, work.batch_size)
    gather_s = stage_s.pop("gather", 0.0) or out_bytes / GATHER_BYTES_PER_S
    return Costs(
        batch_size=work.batch_size,
        stage_s={} if setting.keeps else stage_s,
        read_s=0.0 if setting.keeps else waited_s,
        reread_s=0.0 if setting.keeps else waited_s,
        gather_s=gather_s,
        store_read_s=stage_s.get("read", 0.0),
        write_s=row_bytes / WRITE_BYTES_PER_S,
        step_s=step_s,
        step_core_s=max(0.0, min(batch_core_s, step_s * work.num_cores)),
        eval_s=step_s / 3,
        hand_over_s={
            Backend.threads.value: THREAD_HAND_OVER_S,
            Backend.processes.value: work.batch_bytes / SHARED_BYTES_PER_S,
        },
    )


def advise(
    costs: Costs, setting: Setting, achieved: Achieved, work: Work, limits: Limits
) -> Advice:
    """Return what bound a run of `setting`, and what would have made it faster.

    Args:
        costs: measured by a probe, or `costs_of` the run itself.
        limits: what may be chosen from. What the run's own mode would have to decode is unknown
            if it kept its rows, and need not be: nothing is faster than rows that are there.
    """
    now = predict(costs, setting, work, Measured(achieved.batch_s, achieved.wait_share))
    bound = _bound(achieved, work)
    found = [one for one in candidates(work, limits) if one.keeps or not setting.keeps]
    if not found or bound == "model":
        return _nothing(achieved, bound)
    best = choose(rank(costs, found, work))
    gain = now.epoch_s / max(best.prediction.epoch_s, 1e-12)
    whole = now.total_s / max(best.prediction.total_s, 1e-12)
    if best.setting == setting or min(gain, whole) < WORTH:
        return _nothing(achieved, bound)
    return _change(achieved, bound, setting, best.setting, best.prediction, gain)


def _bound(achieved: Achieved, work: Work) -> str:
    """Return what the run could not go faster than."""
    if achieved.wait_share >= 0.05:
        return "loader"
    load_cores = work.batch_size * achieved.load_s / max(achieved.batch_s, 1e-12)
    if load_cores >= 0.05 * work.num_cores and achieved.cpu_cores >= 0.8 * work.num_cores:
        return "cores"
    return "model"


def _nothing(achieved: Achieved, bound: str) -> Advice:
    share = 100 * achieved.wait_share
    if bound == "model":
        sentence = (
            f"The model bound this run: it waited {share:.1f} % of the time for batches, so no "
            f"loader makes it more than {share:.1f} % faster."
        )
    else:
        what = _stage(achieved)
        sentence = (
            f"{_blame(achieved, bound)}, most of loading being {what}. No other loader setting "
            "within the budgets is predicted to be faster."
        )
    return Advice(sentence, bound, (), 1.0)


def _change(
    achieved: Achieved, bound: str, now: Setting, then: Setting, predicted: Prediction, gain: float
) -> Advice:
    overrides = _overrides(now, then)
    once = f" after {predicted.build_s:.0f} s of building, once" if predicted.build_s >= 1 else ""
    sentence = (
        f"{_blame(achieved, bound)}, most of loading being {_stage(achieved)}. "
        f"Use {' '.join(overrides)}: epochs are predicted to be {gain:.1f} times as fast{once}."
    )
    return Advice(sentence, bound, overrides, gain, predicted.build_s)


def _blame(achieved: Achieved, bound: str) -> str:
    if bound == "cores":
        return f"Model and loader shared {achieved.cpu_cores:.1f} busy cores"
    return f"The loader bound this run: the model waited {100 * achieved.wait_share:.0f} % of it"


def _stage(achieved: Achieved) -> str:
    if not achieved.stage_s:
        return "fetching"
    name = max(achieved.stage_s, key=lambda one: achieved.stage_s[one])
    return f"{_STAGES[name]} ({1e3 * achieved.stage_s[name]:.2f} ms a sample)"


def _overrides(now: Setting, then: Setting) -> tuple[str, ...]:
    """Return what to type to get from one setting to another."""
    found = [] if now.mode is then.mode else [f"mode={then.mode.value}"]
    if now.backend is not then.backend:
        found.append(f"loader.backend={then.backend.value}")
    if then.num_workers and now.num_workers != then.num_workers:
        found.append(f"loader.num_workers={then.num_workers}")
    if then.num_workers and now.prefetch != then.prefetch:
        found.append(f"loader.prefetch={then.prefetch}")
    return tuple(found)
