"""What a training has to do and what it may take, as the model of loader=auto sees it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from chirpid import build
from chirpid.config.paths import cache_dir
from chirpid.config.schema import RootConfig
from chirpid.config.schema.sound import Normalise
from chirpid.data.segments import SegmentTable
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.inputs import within
from chirpid.loading.tune import Limits, Work
from chirpid.types import Backend, Mode

if TYPE_CHECKING:
    from chirpid.cli.prepare import Prepared

_LOOKED_AT = 64
"""Recordings whose size is asked for; the others are like them."""
_OF_GPU = 0.9


def work_of(prepared: Prepared, *, cached_already: bool) -> Work:
    """Return how much is trained, validated and kept."""
    config, spec, rule = prepared.config, prepared.maker.spec, prepared.rule
    folds = list(config.cv.folds or range(prepared.folds.num_folds))
    train_ids, valid_ids = prepared.folds.train_ids(folds[0]), prepared.folds.valid_ids(folds[0])
    eval_samples = len(valid_ids)
    if rule.selection == "inner":
        train_ids, inner_ids = prepared.inner_split(train_ids, folds[0])
        eval_samples += len(inner_ids)
    sizes = [len(ids) for ids in rule.train_epoch(train_ids, prepared.task.key_N, 0).batches]
    # A batch that is larger than the set never comes: nothing is measured, nor held, of that size.
    batch_size = min(config.loader.batch_size, max(sizes, default=config.loader.batch_size))
    num_samples = len(prepared.segments)
    store_bytes = spec.row_bytes * num_samples
    free_bytes = prepared.machine.free_bytes
    has_stats = config.frontend.normalise is not Normalise.none
    return Work(
        num_samples=num_samples,
        train_samples=sum(sizes),
        eval_samples=eval_samples,
        stats_samples=min(config.frontend.stats_segments, len(train_ids)) if has_stats else 0,
        batch_size=batch_size,
        epochs=config.engine.epochs,
        folds=len(folds),
        num_cores=prepared.machine.num_cores,
        store_bytes=store_bytes,
        batch_bytes=batch_size * spec.batch_row_bytes,
        eval_batch_bytes=build.largest_eval_batch(config, num_samples) * spec.batch_row_bytes,
        window_bytes=build.window_bytes(config, spec, num_samples),
        cached_already=cached_already,
        recordings_stay=recordings_bytes(prepared.segments) <= free_bytes,
        store_stays=store_bytes <= free_bytes,
    )


def limits_of(
    config: RootConfig, machine: Machine, device: torch.device, modes: tuple[Mode, ...]
) -> Limits:
    """Return what may be chosen: what is asked for, within caps and budgets."""
    profile, asked = build.profile_of(config), config.loader
    machine = within(machine, profile)
    most = min(machine.num_cores, profile.max_workers)
    if machine.free_bytes < profile.low_memory_bytes:
        most = min(most, profile.max_workers_low_memory)
    num_workers = None if asked.num_workers is None else min(asked.num_workers, most)
    backends = [Backend.inline, Backend.threads, Backend.processes]
    if device.type == "cuda" and machine.gpu is not None:
        backends.insert(1, Backend.device)
    if asked.backend is not Backend.auto:
        backends = [asked.backend]
    elif num_workers is not None:
        backends = [Backend.threads, Backend.processes] if num_workers else [Backend.inline]
    room = 0
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        room = min(int(_OF_GPU * free), machine.gpu_bytes // 2)
    caches = cache_dir(config.paths)
    return Limits(
        modes=modes,
        backends=tuple(backends),
        num_workers=num_workers,
        prefetch=asked.prefetch,
        max_workers=most,
        ram_bytes=build.ram_budget(config, machine),
        disk_bytes=min(int(config.mode.cache_gib * GIB), free_disk_bytes(caches)),
        device_bytes=room,
    )


def recordings_bytes(segments: SegmentTable) -> int:
    """Return about how many bytes of recordings an epoch reads."""
    num_recordings = len(segments.recordings)
    step = max(1, num_recordings // _LOOKED_AT)
    looked_at = range(0, num_recordings, step)
    sizes = []
    for index in looked_at:
        try:
            sizes.append((Path(segments.root) / segments.recordings[index]).stat().st_size)
        except OSError:  # not a file of this machine: shards, or gone since
            continue
    return int(sum(sizes) / len(sizes) * num_recordings) if sizes else 0


def free_disk_bytes(folder: Path) -> int:
    """Return the bytes that the disk of a folder, which may not be there yet, has free."""
    there = next((p for p in (folder, *folder.parents) if p.is_dir()), Path("/"))
    return shutil.disk_usage(there).free
