"""From settings to recordings, segments, folds and rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.audio.frontend import FrontEnd
from chirpid.audio.segment import SegmentRule
from chirpid.build.fields import picked
from chirpid.config.paths import cache_dir, user_path
from chirpid.config.schema import DatasetKind, RootConfig
from chirpid.data.check import Checked, check_recordings
from chirpid.data.manifest import Manifest
from chirpid.data.rows import RowMaker
from chirpid.data.segments import SegmentTable
from chirpid.data.sources import load_manifest
from chirpid.data.splits import Folds, make_folds
from chirpid.engine.rule import Task
from chirpid.types import Keep, StoreDtype

Progress = Callable[[int, int], None]


def manifest_of(config: RootConfig) -> Manifest:
    """Return the recordings and labels that `dataset` names."""
    dataset = config.dataset
    root = user_path(dataset.root) if dataset.root else None
    if dataset.kind is DatasetKind.demo:
        root = root or cache_dir(config.paths) / "demo"
    names = inspect.signature(load_manifest).parameters
    plain = {f.name: getattr(dataset, f.name) for f in fields(dataset) if f.name in names}
    plain |= {"kind": dataset.kind.value, "root": root, "demo": asdict(dataset.demo)}
    if root and dataset.name == dataset.kind.value and dataset.kind is not DatasetKind.demo:
        plain["name"] = root.name  # "puerto-rico-birds" tells more than "csv"
    return load_manifest(**plain)


def checked_of(
    config: RootConfig,
    manifest: Manifest,
    *,
    num_threads: int,
    report_path: Path | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Return the recordings that can be used, after a look at every file."""
    return check_recordings(
        manifest,
        kind=config.dataset.check.value,
        on_bad=config.dataset.on_bad,
        min_s=config.segment.min_s,
        memory_path=cache_dir(config.paths) / "scans.sqlite",
        num_workers=num_threads,
        progress=progress,
        report_path=report_path,
    )


def segment_rule(config: RootConfig) -> SegmentRule:
    """Return how recordings are cut."""
    return SegmentRule(**picked(SegmentRule, config.segment))


def frontend_settings(config: RootConfig) -> dict[str, Any]:
    """Return the arguments of the front end."""
    names = set(inspect.signature(FrontEnd).parameters)
    settings = {k: v for k, v in asdict(config.frontend).items() if k in names}
    return {**settings, "kind": config.frontend.kind.value}


def frontend_of(config: RootConfig) -> FrontEnd:
    """Return the front end."""
    return FrontEnd(**frontend_settings(config))


def store_dtype(config: RootConfig) -> StoreDtype:
    """Return the number type of kept rows: as set, or the smallest that does not hurt."""
    if config.mode.dtype is not None:
        return config.mode.dtype
    return StoreDtype.int16 if config.mode.keep is Keep.waveform else StoreDtype.float16


def maker_of(config: RootConfig, segments: SegmentTable) -> RowMaker:
    """Return what makes the rows of all modes."""
    return RowMaker(segments, frontend_of(config), keep=config.mode.keep, dtype=store_dtype(config))


def folds_of(config: RootConfig, checked: Checked, segments: SegmentTable) -> Folds:
    """Return the folds of all segments."""
    facts = checked.manifest.table.set_index("recording")
    table = facts.loc[[segments.recordings[i] for i in range(len(segments.recordings))]]
    return make_folds(
        kind=config.cv.kind.value,
        labels_R=segments.label_R,
        groups_R=[segments.groups[g] for g in segments.group_R],
        audio_hash_R=table["audio_hash"].tolist(),
        official_R=table["fold"].to_numpy(dtype=np.int64),
        recording_N=segments.recording_N,
        class_names=segments.classes,
        num_folds=config.cv.num_folds,
        group_by=config.cv.group_by,
        holdout_fraction=config.cv.holdout_fraction,
        seed=config.seed,
    )


def task_of(config: RootConfig, checked: Checked, segments: SegmentTable) -> Task:
    """Return labels, keys and training targets of all segments."""
    return Task(
        classes=segments.classes,
        label_N=segments.label_N,
        recording_N=segments.recording_N,
        key_N=segments.key_N,
        target_NC=_targets(config, checked, segments),
        name=segments.name,
    )


def _targets(config: RootConfig, checked: Checked, segments: SegmentTable) -> Tensor:
    """Return float32 [N, C]: 1 for the label, `secondary_weight` for others, rows sum to 1."""
    target_RC = np.eye(len(segments.classes), dtype=np.float32)[segments.label_R]
    weight = config.dataset.secondary_weight
    if weight > 0:
        index = {name: i for i, name in enumerate(segments.classes)}
        row = {segments.recordings[i]: i for i in range(len(segments.recordings))}
        table = checked.manifest.table
        for name, others in zip(table["recording"], table["secondary"], strict=True):
            for other in str(others).split(";"):
                if other in index and name in row:
                    r, c = row[name], index[other]
                    target_RC[r, c] = max(target_RC[r, c], weight)
    target_RC /= target_RC.sum(axis=1, keepdims=True)
    return torch.from_numpy(target_RC[segments.recording_N])
