"""Costs and work to start from: a FLAC set on two cores, a step of 40 ms a batch of 32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chirpid.loading.tune import Costs, Setting, Work
from chirpid.types import Backend, Mode

COSTS = Costs(
    batch_size=32,
    stage_s={"decode": 1.4e-3, "resample": 0.1e-3, "frontend": 0.3e-3},
    gather_s=1e-5,
    write_s=5e-5,
    step_s=0.04,
    step_core_s=0.08,
    eval_s=0.013,
    hand_over_s={"threads": 1e-4, "processes": 1e-3},
    start_s={"processes": 2.0},
)
WORK = Work(
    num_samples=10_000,
    train_samples=8000,
    eval_samples=2000,
    stats_samples=2000,
    batch_size=32,
    epochs=10,
    folds=5,
    num_cores=2,
    store_bytes=400 * 2**20,
    batch_bytes=2**21,
)
INLINE = {mode: Setting(mode, Backend.inline) for mode in (Mode.lazy, Mode.eager, Mode.cached)}


def costs(**other: Any) -> Costs:
    return replace(COSTS, **other)


def work(**other: Any) -> Work:
    return replace(WORK, **other)


def threads(mode: Mode, num_workers: int = 2, prefetch: int = 4) -> Setting:
    return Setting(mode, Backend.threads, num_workers, prefetch)
