"""From settings to objects: the only package that knows both."""

from __future__ import annotations

from chirpid.build.data import (
    Progress,
    checked_of,
    folds_of,
    frontend_of,
    frontend_settings,
    maker_of,
    manifest_of,
    segment_rule,
    store_dtype,
    task_of,
)
from chirpid.build.fields import picked
from chirpid.build.plan import (
    largest_eval_batch,
    plan_of,
    profile_of,
    ram_budget,
    store_options,
    window_bytes,
)
from chirpid.build.train import (
    device_of,
    model_maker,
    train_rule,
    try_model,
)
from chirpid.loading.hardware import GIB

__all__ = [
    "GIB",
    "Progress",
    "checked_of",
    "device_of",
    "folds_of",
    "frontend_of",
    "frontend_settings",
    "largest_eval_batch",
    "maker_of",
    "manifest_of",
    "model_maker",
    "picked",
    "plan_of",
    "profile_of",
    "ram_budget",
    "segment_rule",
    "store_dtype",
    "store_options",
    "task_of",
    "train_rule",
    "try_model",
    "window_bytes",
]
