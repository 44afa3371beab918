# ruff: noqa: E501 - a rule a line reads as the table it is
"""Rules between settings. One line each: what is broken, and what is said then."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from chirpid.config.schema import (
    CvKind,
    DatasetKind,
    FrontEndKind,
    RootConfig,
    Selection,
    TrackingKind,
)
from chirpid.config.settings import all_settings
from chirpid.errors import ConfigError, did_you_mean
from chirpid.types import Backend, GroupBy, Keep, Mode, Order, Policy, StoreDtype

METRICS = tuple(
    f"{level}/{name}"
    for level in ("recording", "segment")
    for name in ("accuracy", "macro_f1", "macro_auroc", "cmap")
)
"""Metrics of the validation part that a run may select by or return. Higher is better in all."""


class Rule(NamedTuple):
    """`message` is formatted with the config as `c` when `broken(c)`."""

    broken: Callable[[RootConfig], bool]
    message: str


def _asks_device(c: RootConfig) -> bool:
    return c.loader.policy is Policy.device or c.loader.backend is Backend.device


def _backend_takes_no_workers(c: RootConfig) -> bool:
    return c.loader.backend in (Backend.inline, Backend.device)


def _has_fold_outside(c: RootConfig) -> bool:
    folds = c.cv.folds or []
    num_folds = {CvKind.grouped_kfold: c.cv.num_folds, CvKind.holdout: 1}.get(c.cv.kind, math.inf)
    return any(not 0 <= fold < num_folds for fold in folds)


def _is_device_unknown(c: RootConfig) -> bool:
    return re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", c.engine.device) is None


def _demo_has_own_data(c: RootConfig) -> bool:
    return c.dataset.kind is DatasetKind.demo and bool(
        c.dataset.root or c.dataset.table or c.dataset.filter
    )


def _shards_are_chosen_from(c: RootConfig) -> bool:
    chosen = (c.dataset.table, c.dataset.filter, c.dataset.limit)
    return c.dataset.kind is DatasetKind.shards and any(one is not None for one in chosen)


def _segment_frames(c: RootConfig) -> float:
    return c.segment.duration_s * c.frontend.sample_rate_hz


RULES: tuple[Rule, ...] = (
    # Names
    Rule(lambda c: re.fullmatch(r"[^/\\\0]*[^/\\\0.\s][^/\\\0]*", c.name) is None, "name='{c.name}' is not allowed: it names a folder, so give it letters or digits and no slash."),
    Rule(lambda c: _is_device_unknown(c), "engine.device={c.engine.device} is not allowed: it takes auto, cpu, cuda, cuda:<number> or mps."),
    # Data
    Rule(_demo_has_own_data, "dataset.root, dataset.table or dataset.filter is set, but dataset=demo makes its own synthetic birds. Add dataset=folder, dataset=csv, dataset=birdclef or dataset=esc50."),
    Rule(lambda c: c.dataset.kind is DatasetKind.folder and c.dataset.filter is not None, "dataset.filter needs the columns of a label table, and dataset=folder has none. Use dataset=csv."),
    Rule(lambda c: c.dataset.kind is DatasetKind.shards and c.mode.name is Mode.lazy, "mode=lazy decodes recordings, and dataset=shards has none. Use mode=streaming, cached or eager."),
    Rule(lambda c: bool(c.dataset.mix) and c.dataset.kind is not DatasetKind.shards, "dataset.mix draws from sets of shards. Write each set with chirpid shard, and use dataset=shards."),
    Rule(lambda c: bool(c.dataset.mix) and c.dataset.root is not None, "dataset.root and dataset.mix are both set. Use dataset.mix alone for several sets."),
    Rule(_shards_are_chosen_from, "dataset.table, dataset.filter and dataset.limit choose recordings, and dataset=shards holds finished rows. Choose when you write them with chirpid shard."),
    Rule(lambda c: c.dataset.secondary_weight > 0 and c.dataset.secondary_column is None and c.dataset.kind is DatasetKind.csv, "dataset.secondary_weight={c.dataset.secondary_weight} needs dataset.secondary_column, the column of further species."),
    Rule(lambda c: c.dataset.delimiter is not None and len(c.dataset.delimiter) != 1, "dataset.delimiter='{c.dataset.delimiter}' is not allowed: it is a single character; null detects it."),
    # Segments and front end
    Rule(lambda c: c.frontend.fft_samples > _segment_frames(c), "frontend.fft_samples={c.frontend.fft_samples} is longer than a segment: segment.duration_s={c.segment.duration_s} at {c.frontend.sample_rate_hz} Hz. Use a shorter FFT or longer segments."),
    Rule(lambda c: c.frontend.top_db <= 0, "frontend.top_db={c.frontend.top_db} is not allowed: it is more than 0 dB."),
    Rule(lambda c: c.segment.min_tail_s < 0, "segment.min_tail_s={c.segment.min_tail_s} is not allowed: it is 0 s or more."),
    Rule(lambda c: c.segment.max_below_peak_db is not None and c.segment.max_below_peak_db <= 0, "segment.max_below_peak_db={c.segment.max_below_peak_db} is not allowed: it is more than 0 dB."),
    # Augmentation
    Rule(lambda c: c.augment.time_shift_s > c.segment.duration_s, "augment.time_shift_s={c.augment.time_shift_s} is longer than segment.duration_s={c.segment.duration_s}. Shift by less."),
    Rule(lambda c: c.augment.num_time_masks > 0 and c.augment.time_mask_s >= c.segment.duration_s, "augment.time_mask_s={c.augment.time_mask_s} can hide a whole segment of segment.duration_s={c.segment.duration_s}. Use a shorter mask."),
    Rule(lambda c: c.augment.num_freq_masks > 0 and c.augment.freq_mask_bands >= c.frontend.num_mels, "augment.freq_mask_bands={c.augment.freq_mask_bands} can hide all frontend.num_mels={c.frontend.num_mels} bands. Use a narrower mask."),
    # Modes
    Rule(lambda c: c.mode.keep is Keep.waveform and c.mode.dtype is StoreDtype.float16, "mode.dtype=float16 keeps 11 bits of a waveform. Use int16 (16 bits, as small) or float32."),
    Rule(lambda c: c.mode.dtype is StoreDtype.uint8 and c.frontend.kind is FrontEndKind.pcen, "mode.dtype=uint8 is steps between the floor and the ceiling of log-mel, and frontend=pcen has neither. Use mode.dtype=float16 or frontend=logmel."),
    Rule(lambda c: c.mode.name is Mode.streaming and c.loader.order is Order.shuffled, "mode=streaming reads in sequence, so loader.order=shuffled is not possible. Use loader.order=auto or windowed."),
    # Loading
    Rule(lambda c: _asks_device(c) and c.mode.name is not Mode.eager, "loader=device holds the whole set on the GPU and needs mode=eager, found mode={c.mode.name.value}."),
    Rule(lambda c: c.loader.policy is Policy.device and c.loader.backend not in (Backend.auto, Backend.device), "loader.policy=device contradicts loader.backend={c.loader.backend.value}. Drop one of them."),
    Rule(lambda c: _backend_takes_no_workers(c) and bool(c.loader.num_workers), "loader.backend={c.loader.backend.value} has no workers, found loader.num_workers={c.loader.num_workers}. Use loader.backend=threads or processes, or drop num_workers."),
    Rule(lambda c: c.loader.backend in (Backend.threads, Backend.processes) and c.loader.num_workers == 0, "loader.backend={c.loader.backend.value} needs a worker, found loader.num_workers=0. Use loader.backend=inline, or 1 worker and more."),
    # Folds
    Rule(lambda c: c.cv.kind is CvKind.predefined and c.dataset.kind is DatasetKind.csv and c.dataset.fold_column is None, "cv=predefined needs dataset.fold_column, the column of the official folds."),
    Rule(lambda c: c.cv.kind is CvKind.predefined and c.dataset.kind in (DatasetKind.demo, DatasetKind.folder), "cv=predefined needs official folds, and dataset={c.dataset.name} has none. Use cv=grouped_kfold."),
    Rule(lambda c: c.cv.folds == [], "cv.folds=[] runs nothing. Name folds, as in cv.folds=[0,1], or use null for all."),
    Rule(_has_fold_outside, "cv.folds={c.cv.folds} names a fold that cv={c.cv.kind.value} does not have: they count from 0, and there are {num_folds}."),
    Rule(lambda c: len(set(c.cv.folds or [])) != len(c.cv.folds or []), "cv.folds={c.cv.folds} names a fold twice."),
    # Optimisation and engine
    Rule(lambda c: not 0 <= c.optim.warmup_epochs <= c.engine.epochs, "optim.warmup_epochs={c.optim.warmup_epochs} is not allowed: it is 0 to engine.epochs={c.engine.epochs}."),
    Rule(lambda c: c.optim.clip_norm is not None and c.optim.clip_norm <= 0, "optim.clip_norm={c.optim.clip_norm} is not allowed: it is more than 0; null does not clip."),
    Rule(lambda c: c.engine.max_batches is not None and c.engine.max_batches < 1, "engine.max_batches={c.engine.max_batches} is not allowed: it is 1 or more; null runs whole epochs."),
    Rule(lambda c: c.engine.num_threads is not None and c.engine.num_threads < 1, "engine.num_threads={c.engine.num_threads} is not allowed: it is 1 or more; null takes all cores."),
    Rule(lambda c: c.engine.checkpoint_minutes <= 0, "engine.checkpoint_minutes={c.engine.checkpoint_minutes} is not allowed: it is more than 0."),
)  # fmt: skip  # noqa: RUF100


def check_rules(config: RootConfig) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: the first broken rule.
    """
    _check_finite(config)
    _check_metric("metric", config.metric)
    _check_metric("engine.monitor", config.engine.monitor)
    num_folds = 1 if config.cv.kind is CvKind.holdout else config.cv.num_folds
    for rule in RULES:
        if rule.broken(config):
            raise ConfigError(rule.message.format(c=config, num_folds=num_folds))


def unused_settings(config: RootConfig, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield one line for each setting that the user gave and that has no effect here."""
    for key, is_unused, reason in UNUSED:
        asked = sources.get(key, "")
        if is_unused(config) and asked not in ("", "default") and not _is_built_in(asked):
            yield f"{key} ({asked}) has no effect: {reason.format(c=config)}."


UNUSED: tuple[tuple[str, Callable[[RootConfig], bool], str], ...] = (
    ("mode.cache_gib", lambda c: c.mode.name not in (Mode.cached, Mode.streaming), "mode={c.mode.name.value} writes no cache"),
    ("mode.read", lambda c: c.mode.name is not Mode.cached, "mode={c.mode.name.value} has one way to read"),
    ("engine.patience", lambda c: c.engine.selection is Selection.last, "engine.selection=last never stops early"),
    ("engine.monitor", lambda c: c.engine.selection is Selection.last, "engine.selection=last watches no metric"),
    ("engine.inner_fraction", lambda c: c.engine.selection is not Selection.inner, "only engine.selection=inner splits the training part"),
    ("cv.num_folds", lambda c: c.cv.kind is not CvKind.grouped_kfold, "cv={c.cv.kind.value} decides the number of folds"),
    ("cv.holdout_fraction", lambda c: c.cv.kind is not CvKind.holdout, "it belongs to cv=holdout"),
    ("cv.group_by", lambda c: c.cv.kind is CvKind.predefined and c.cv.group_by is not GroupBy.group, "cv=predefined takes its folds from the table"),
    ("dataset.demo.num_species", lambda c: c.dataset.kind is not DatasetKind.demo, "dataset={c.dataset.name} makes no synthetic birds"),
    ("dataset.on_bad", lambda c: c.dataset.kind is DatasetKind.shards, "recordings were checked when the shards were written, and a bad shard always stops"),
    ("loader.epoch_segments", lambda c: not c.dataset.mix, "it belongs to dataset.mix"),
    ("loader.start_method", lambda c: c.loader.backend not in (Backend.auto, Backend.processes), "loader.backend={c.loader.backend.value} starts no processes"),
    ("loader.persistent_workers", lambda c: c.loader.backend not in (Backend.auto, Backend.processes), "loader.backend={c.loader.backend.value} starts no processes"),
    ("loader.probe_s", lambda c: c.loader.policy is not Policy.auto, "only loader=auto measures before it decides"),
    ("tracking.uri", lambda c: c.tracking.kind is TrackingKind.off, "tracking=off logs nowhere"),
    ("tracking.experiment", lambda c: c.tracking.kind is TrackingKind.off, "tracking=off logs nowhere"),
    ("mode.window_segments", lambda c: c.loader.order in (Order.shuffled, Order.sequential), "loader.order={c.loader.order.value} has no window"),
)  # fmt: skip


def _is_built_in(source: str) -> bool:
    # An option that a user chose by name carries values for other circumstances, too.
    return source.startswith("conf/") and not source.startswith("conf/local/")


def _check_metric(setting: str, metric: str) -> None:
    if metric not in METRICS:
        raise ConfigError(
            f"{setting}={metric} is not a metric.{did_you_mean(metric, METRICS)} "
            f"Metrics: {', '.join(METRICS)}."
        )


def _check_finite(config: RootConfig) -> None:
    for key in all_settings():
        value: object = config
        for part in key.split("."):
            value = getattr(value, part)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}={value} is not allowed: it is a finite number.")
