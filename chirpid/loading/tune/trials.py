"""Short trainings under the few settings that are worth it: what the model alone cannot know.

On a CPU a training step shares its cores with the workers that load, and how much that slows it
down depends on schedulers, caches and libraries. It is measured, with the loaders themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from chirpid.data.datasets import SegmentDataset, TensorDataset
from chirpid.errors import ChirpError
from chirpid.loading.backends.base import LoaderBackend
from chirpid.loading.backends.device import DeviceBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.loading.plan import in_flight
from chirpid.loading.tune.choose import TrialKey, Trials, choose, rank, trial_key, worth_trying
from chirpid.loading.tune.clock import Until
from chirpid.loading.tune.costs import Costs
from chirpid.loading.tune.model import Measured, Setting, Work
from chirpid.loading.tune.steps import Learner
from chirpid.types import Backend, IntArray

LEAST_BATCHES = 4
"""A trial is not worth its time if it comes to fewer."""
_AT_MOST = 3
_FINAL = 0.1
"""Settings within this share of the best are tried twice."""
_WARM = 0.25
_MOST_BATCHES, _MOST_IDS = 2000, 2**22

Run = Callable[[Setting, float], Measured | None]
"""Trains under a setting for so many seconds; None if that cannot be."""


def try_settings(
    costs: Costs,
    settings: Sequence[Setting],
    work: Work,
    trials: Trials,
    run: Run,
    budget_s: float,
) -> dict[TrialKey, Measured]:
    """Return the trials there are after the best settings have been tried.

    Halving: the best by the model are tried first, those that come close once more. What a trial
    teaches of how far the model is off counts for settings like it (`rank`), and one that is then
    the best is tried, too.
    """
    known, until = dict(trials), Until(budget_s)
    queue = [s for s in worth_trying(rank(costs, settings, work, known), work, _AT_MOST)
             if trial_key(s) not in known]  # fmt: skip
    slice_s = budget_s / max(2, len(queue) + 2)
    left = list(settings)

    def try_once(setting: Setting) -> None:
        measured = run(setting, min(slice_s, until.seconds - until.elapsed_s))
        key = trial_key(setting)
        if measured is None:
            left[:] = [s for s in left if trial_key(s) != key]
        else:
            known[key] = _mean(known.get(key), measured)

    new: list[Setting] = []
    while queue and until.elapsed_s + 0.5 * slice_s < budget_s:
        setting = queue.pop(0)
        try_once(setting)
        new.append(setting)
        if not queue and (ranked := rank(costs, left, work, known)):
            pick = choose(ranked, work)
            if not pick.prediction.tried:
                queue.append(pick.setting)
    for setting in reversed(_close(costs, new, work, known)):
        if until.elapsed_s + 0.5 * slice_s < budget_s:
            try_once(setting)
    return known


def run_trial(
    dataset: SegmentDataset,
    setting: Setting,
    ids: IntArray,
    learner: Learner,
    *,
    batch_size: int,
    seconds: float,
    device: torch.device,
    pin_memory: bool,
) -> Measured | None:
    """Train on batches of `ids` for so long; return what a batch took, or None if that failed.

    The first part is not counted: workers fill their ring meanwhile.
    """
    try:
        backend = backend_of(dataset, setting, device=device, pin_memory=pin_memory)
    except (OSError, RuntimeError):  # no room on the device, no threads to be had
        return None
    try:
        batches = _batches(ids, batch_size)
        return _timed(backend, batches, learner, setting, seconds)
    except (ChirpError, OSError, RuntimeError, ValueError):
        return None
    finally:
        backend.close()


def backend_of(
    dataset: SegmentDataset, setting: Setting, *, device: torch.device, pin_memory: bool
) -> LoaderBackend:
    """Return the backend of a trial. Worker processes take longer to start than a trial lasts."""
    assert setting.backend is not Backend.processes
    if setting.backend is Backend.device:
        assert isinstance(dataset, TensorDataset)
        return DeviceBackend(dataset, device)
    if setting.backend is Backend.threads:
        return ThreadsBackend(
            dataset,
            num_workers=setting.num_workers,
            prefetch=setting.prefetch,
            pin_memory=pin_memory,
        )
    return InlineBackend(dataset, pin_memory=pin_memory)


def _timed(
    backend: LoaderBackend,
    batches: Sequence[IntArray],
    learner: Learner,
    setting: Setting,
    seconds: float,
) -> Measured | None:
    whole, ring = Until(seconds), in_flight(setting.num_workers, setting.prefetch)
    begin_s, waited_s, count, warm = 0.0, 0.0, 0, 0
    passing = iter(backend.run(batches))
    asked_s = time.perf_counter()
    while (batch := next(passing, None)) is not None:
        waited_s += time.perf_counter() - asked_s
        learner.train(batch)
        count += 1
        if not begin_s and (count >= ring or whole.elapsed_s >= _WARM * seconds):
            learner.wait()
            begin_s, warm, waited_s = time.perf_counter(), count, 0.0
        elif begin_s and whole.is_over and count > warm + 1:
            break
        asked_s = time.perf_counter()
    learner.wait()
    took_s, counted = time.perf_counter() - begin_s, count - warm
    if not begin_s or not counted:
        return None
    return Measured(took_s / counted, min(1.0, waited_s / took_s), counted)


def _batches(ids: IntArray, batch_size: int) -> list[IntArray]:
    """Return batches of the ids, again and again, each time in another order."""
    step = next(s for s in (7919, 104729, 1299709) if len(ids) % s)
    # Of a large batch fewer are enough: a trial that uses them up is over, and was long.
    num_batches = max(2 * LEAST_BATCHES, min(_MOST_BATCHES, _MOST_IDS // batch_size))
    places = (np.arange(num_batches * batch_size, dtype=np.int64) * step) % len(ids)
    return list(ids[places].reshape(num_batches, batch_size))


def _close(costs: Costs, settings: Iterable[Setting], work: Work, known: Trials) -> list[Setting]:
    """Return the settings that came close to the best, the best first; none if there is one."""
    tried = [s for s in settings if trial_key(s) in known]
    ranked = rank(costs, tried, work, known)
    if len(ranked) < 2:
        return []
    limit = ranked[0].prediction.total_s * (1 + _FINAL)
    near = [c.setting for c in ranked if c.prediction.total_s <= limit]
    return near[:_AT_MOST] if len(near) > 1 else []


def _mean(before: Measured | None, now: Measured) -> Measured:
    """Return two trials of one setting as one."""
    if before is None:
        return now
    count = before.num_batches + now.num_batches
    part = now.num_batches / max(1, count)
    return Measured(
        before.batch_s + (now.batch_s - before.batch_s) * part,
        before.wait_share + (now.wait_share - before.wait_share) * part,
        count,
    )
