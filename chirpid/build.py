"""From settings to objects: the only file that knows both."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.audio.augment import AugmentRule
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.segment import SegmentRule
from chirpid.config.paths import cache_dir, user_path
from chirpid.config.schema import DatasetKind, RootConfig
from chirpid.data.check import Checked, check_recordings
from chirpid.data.kept import RowSpec
from chirpid.data.manifest import Manifest
from chirpid.data.modes import StoreOptions
from chirpid.data.rows import RowMaker
from chirpid.data.segments import SegmentTable
from chirpid.data.sources import load_manifest
from chirpid.data.splits import Folds, make_folds
from chirpid.engine.model import BirdModel
from chirpid.engine.rule import Task, TrainRule
from chirpid.errors import ConfigError
from chirpid.loading.hardware import Machine
from chirpid.loading.plan import LoaderPlan, Profile, Traits, Wish, make_plan
from chirpid.models.named import find_model, make_network, try_network
from chirpid.types import Backend, Keep, Mode, StartMethod, StoreDtype

GIB = 2**30
Progress = Callable[[int, int], None]


def picked(kind: type[Any], settings: object, **more: Any) -> dict[str, Any]:
    """Return the settings whose names are fields of `kind`, and `more`."""
    names = {f.name for f in fields(kind)}
    taken = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name in names}  # type: ignore[arg-type]
    return {**taken, **more}


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


def device_of(config: RootConfig) -> torch.device:
    """Return the device that the model runs on.

    Raises:
        ConfigError: it is asked for by name and is not there.
    """
    wanted = config.engine.device
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(
            f"engine.device={wanted} is no device. Use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(
            f"engine.device={wanted} is not here: this machine has {count} CUDA devices. "
            "Use engine.device=auto or cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("engine.device=mps is not here. Use engine.device=auto or cpu.")
    return device


def profile_of(config: RootConfig) -> Profile:
    """Return the hardware profile as the plan takes it."""
    h = config.hardware
    return Profile(
        **picked(Profile, h),
        ram_bytes=_bytes(h.ram_gib),
        gpu_bytes=_bytes(h.gpu_memory_gib),
        low_memory_bytes=int(h.low_memory_gib * GIB),
    )


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else int(gib * GIB)


def ram_budget(config: RootConfig, machine: Machine) -> int:
    """Return the bytes of RAM that loading may take."""
    if config.memory.budget_gib is not None:
        return int(config.memory.budget_gib * GIB)
    return int(config.memory.fraction * machine.free_bytes)


def plan_of(config: RootConfig, machine: Machine, spec: RowSpec, num_segments: int) -> LoaderPlan:
    """Return how batches will be fetched, and why."""
    mode = config.mode.name
    batch = max(config.loader.batch_size, config.loader.eval_batch_size or 0)
    store_bytes = spec.row_bytes * num_segments
    shards = -(-config.mode.window_segments // config.mode.shard_segments) + 1
    window_bytes = shards * config.mode.shard_segments * spec.row_bytes
    resident = {Mode.eager: store_bytes, Mode.streaming: min(store_bytes, window_bytes)}
    traits = Traits(
        mode=mode,
        num_segments=num_segments,
        batch_bytes=batch * spec.batch_row_bytes,
        store_bytes=store_bytes,
        resident_bytes=resident.get(mode, 0),
        heavy=mode is Mode.lazy,
        beyond_ram=mode is Mode.cached and store_bytes > machine.free_bytes,
    )
    return make_plan(
        machine=machine,
        profile=profile_of(config),
        wish=Wish(**picked(Wish, config.loader)),
        traits=traits,
        budget_bytes=ram_budget(config, machine),
    )


def store_options(config: RootConfig, machine: Machine, plan: LoaderPlan) -> StoreOptions:
    """Return where stores lie and what they may take."""
    processes = plan.backend.value is Backend.processes
    return StoreOptions(
        cache_root=cache_dir(config.paths),
        cache_bytes=int(config.mode.cache_gib * GIB),
        ram_bytes=ram_budget(config, machine),
        num_threads=machine.num_cores,
        share=processes and plan.start_method.value is not StartMethod.fork,
        free_bytes=machine.free_bytes,
        **picked(StoreOptions, config.mode),
    )


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


def train_rule(config: RootConfig) -> TrainRule:
    """Return how a fold is trained."""
    taken: dict[str, Any] = {}
    for group in (config.engine, config.optim, config.loader, config.mode):
        taken |= picked(TrainRule, group)
    augment = picked(AugmentRule, config.augment)
    return TrainRule(
        **taken
        | {
            "seed": config.seed,
            "selection": config.engine.selection.value,
            "optimiser": config.optim.name.value,
            "checkpoint_s": config.engine.checkpoint_minutes * 60,
            "block_segments": config.mode.shard_segments,
            "eval_batch_size": config.loader.eval_batch_size or config.loader.batch_size,
            "augment": AugmentRule(**augment),
        }
    )


def model_maker(config: RootConfig, classes: Sequence[str]) -> Callable[[], BirdModel]:
    """Return a function that makes the untrained model, anew for each fold.

    Raises:
        ConfigError: `model.target` does not exist, or does not take `model.params`.
    """
    target, params = config.model.target, config.model.params

    def make() -> BirdModel:
        return BirdModel(
            frontend_of(config),
            make_network(target, params, len(classes)),
            classes,
            clip_median=config.frontend.clip_median,
        )

    find_model(target)
    return make


def try_model(config: RootConfig, classes: Sequence[str]) -> None:
    """Make the model once and give it a batch: what does not fit is told before any work.

    Raises:
        ConfigError: `model.target` and `model.params` do not make a model of this task.
    """
    target = config.model.target
    network, frontend = make_network(target, config.model.params, len(classes)), frontend_of(config)
    num_frames = frontend.num_frames(round(config.segment.duration_s * frontend.sample_rate_hz))
    found = try_network(network, target, num_mels=frontend.num_mels, num_frames=num_frames)
    if found != len(classes):
        raise ConfigError(
            f"model.target={target} gives {found} logits and there are {len(classes)} classes. "
            "It must use the num_classes that it is given."
        )
