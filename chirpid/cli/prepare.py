"""Everything before the first batch: recordings, segments, folds, plan, loader."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from chirpid import build, native
from chirpid.cli import auto, from_shards, mixed_shards
from chirpid.cli.explain import print_machine, print_plan_table
from chirpid.cli.mixed_shards import MixedShards
from chirpid.cli.progress import progress_bar
from chirpid.cli.tuned import Tuned
from chirpid.config.paths import cache_dir, user_path
from chirpid.config.resolve import Resolved, plain_leaves
from chirpid.config.schema import DatasetKind, RootConfig, Selection
from chirpid.data.check import Checked
from chirpid.data.datasets import SegmentDataset
from chirpid.data.labels import counted
from chirpid.data.manifest import Manifest
from chirpid.data.mix import Mix
from chirpid.data.modes import check_budgets, content_key, open_dataset, store_key
from chirpid.data.rows import RowMaker, note_on_lazy
from chirpid.data.segments import SegmentTable, make_segments
from chirpid.data.sources.shards import ShardSet
from chirpid.data.split_files import write_splits
from chirpid.data.splits import Folds, inner_split
from chirpid.engine.rule import Task, TrainRule
from chirpid.errors import ConfigError
from chirpid.loading.factory import Loader, make_loader
from chirpid.loading.hardware import Machine, read_machine
from chirpid.loading.plan import LoaderPlan
from chirpid.seeds import mix64
from chirpid.types import IntArray, Mode, Policy, size_text


@dataclass(slots=True)
class Prepared:
    """What a training needs, before anything is kept or trained."""

    config: RootConfig
    checked: Checked
    segments: SegmentTable
    folds: Folds
    task: Task
    machine: Machine
    device: torch.device
    maker: RowMaker
    plan: LoaderPlan
    shards: ShardSet | MixedShards | None = None
    """Where the rows come from, if not from recordings."""
    tuned: Tuned | None = None
    """What loader=auto found, if it was asked."""

    @property
    def manifest(self) -> Manifest:
        return self.checked.manifest

    @property
    def mix(self) -> Mix | None:
        """How several sets are drawn from, if there are several."""
        return self.shards.mix if isinstance(self.shards, MixedShards) else None

    @property
    def rule(self) -> TrainRule:
        """How each fold is trained."""
        return replace(build.train_rule(self.config), mix=self.mix)

    @property
    def names_R(self) -> list[str]:
        """Names of all recordings of the segment table."""
        return [self.segments.recordings[i] for i in range(len(self.segments.recordings))]

    @property
    def data_hash(self) -> str:
        """Digest of what is trained on: sound, windows, names and targets."""
        frontend = build.frontend_settings(self.config)
        digest = hashlib.sha256(content_key(self.maker, frontend).encode())
        for array in (self.task.key_N, self.task.target_NC.numpy()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def inner_split(self, ids: IntArray, fold: int) -> tuple[IntArray, IntArray]:
        """Return the ids to train on and the ids to choose an epoch by, of a training part.

        Raises:
            ConfigError: the training part is a single group.
        """
        return inner_split(
            ids,
            self.task.label_N,
            self.folds.unit_N,
            fraction=self.config.engine.inner_fraction,
            seed=int(mix64(self.config.seed, fold) >> np.uint64(1)),
        )

    def check_fit(self) -> None:
        """Refuse what cannot work with this set on this machine, before anything is written.

        Raises:
            ConfigError: over a budget, or a fold has no batch to train on.
        """
        options = build.store_options(self.config, self.machine, self.plan)
        if self.shards is not None and self.config.mode.name is Mode.streaming:
            mixed_shards.check_budgets(self.shards, options)
        else:
            check_budgets(self.config.mode.name, self.maker, options)
        batch_size = self.config.loader.batch_size
        for fold in self.config.cv.folds or range(self.folds.num_folds):
            ids = self.folds.train_ids(fold)
            if self.config.engine.selection is Selection.inner:
                ids, _ = self.inner_split(ids, fold)
            num_draws = len(ids)
            if self.mix is not None:
                self.mix.parts(ids, len(self.segments))
                num_draws = self.mix.epoch_segments or num_draws
            if self.config.loader.drop_last and num_draws < batch_size:
                raise ConfigError(
                    f"loader.drop_last=true leaves fold {fold} no batch to train on: it has "
                    f"{num_draws} segments, loader.batch_size={batch_size}. "
                    "Use loader.drop_last=false or a smaller batch."
                )

    def write_splits(self, path: Path) -> None:
        """Write splits.csv."""
        write_splits(
            path,
            self.folds,
            recordings_R=self.names_R,
            groups_R=[self.segments.groups[g] for g in self.segments.group_R],
            labels_R=self.segments.label_R,
            class_names=self.segments.classes,
            recording_N=self.segments.recording_N,
            segments_N=[self.segments.name(i) for i in range(len(self.segments))],
        )

    def parameters(self, resolved: Resolved) -> dict[str, object]:
        """Return all settings and the decisions of the plan, flat."""
        from omegaconf import OmegaConf

        settings = plain_leaves(OmegaConf.structured(resolved.config))
        plan = {f"plan.{name}": value for name, value, _, _ in self.plan.rows()}
        plan["plan.mode"] = self.config.mode.name.value
        return {k: v for k, v in settings.items() if v is not None} | plan

    def print_plan(self, console: Console, *, full: bool) -> None:
        """Print how batches will be fetched; with `full`, each decision and its reason."""
        plan, mode = self.plan, self.config.mode
        spec = self.maker.spec
        store = spec.row_bytes * len(self.segments)
        console.print(
            f"loading: mode={mode.name.value}, {spec.keep.value} "
            f"{'×'.join(map(str, spec.shape))} as {spec.dtype.value} ({size_text(store)}), "
            f"{plan.backend.value.value}, {counted(plan.num_workers.value, 'worker')}, "
            f"{size_text(plan.total_bytes)} in RAM, on {self.device}"
        )
        console.print(f"  kernels: {native.describe()}")
        for line in plan.clamps:
            console.print(f"  clamped: {line}")
        if not full:
            return
        places = [("caches", cache_dir(self.config.paths))]
        if self.config.dataset.root is not None and "://" not in self.config.dataset.root:
            places.insert(0, ("recordings", user_path(self.config.dataset.root)))
        print_machine(console, self.machine, places)
        print_plan_table(console, plan)


def prepare(config: RootConfig, console: Console, given: Collection[str] | None = None) -> Prepared:
    """Return checked recordings, segments, folds and the plan, telling the user of each.

    Args:
        given: settings whose value somebody chose, which loader=auto leaves as they are; None:
            those that differ from the default.
    Raises:
        ChirpError: settings, recordings or budgets that do not allow a training.
    """
    device = build.device_of(config)
    build.model_maker(config, ("one", "other"))()  # wrong settings are told before files are read
    machine = read_machine(device.type)
    found = prepare_rows(config, machine, console)
    checked, segments, maker = found.checked, found.segments, found.maker
    folds = build.folds_of(config, checked, segments)
    _tell_data(console, config, checked, segments, folds, found.notes)
    build.try_model(config, segments.classes)
    prepared = Prepared(
        config=config,
        checked=checked,
        segments=segments,
        folds=folds,
        task=build.task_of(config, checked, segments),
        machine=machine,
        device=device,
        maker=maker,
        plan=build.plan_of(config, machine, maker.spec, len(segments)),
        shards=found.shards,
    )
    if config.loader.policy is Policy.auto:
        auto.tune(prepared, console, given)
    return prepared


@dataclass(frozen=True, slots=True)
class Rows:
    """The segments of a dataset, and what makes their rows."""

    checked: Checked
    segments: SegmentTable
    maker: RowMaker
    notes: list[str]
    shards: ShardSet | MixedShards | None


def prepare_rows(config: RootConfig, machine: Machine, console: Console) -> Rows:
    """Return the segments of recordings that were checked now, or of shards that were written.

    Raises:
        ChirpError: recordings or shards that cannot be used, or were made with other settings.
    """
    if config.dataset.kind is DatasetKind.shards:
        if config.dataset.mix:
            mixed = mixed_shards.open_mixed(config)
            all_rows = mixed_shards.rows_of(config, mixed)
            return Rows(mixed.checked, mixed.segments, all_rows, [], mixed)
        shards = from_shards.open_set(config)
        rows = from_shards.rows_of(config, shards)
        return Rows(shards.checked, shards.segments, rows, [], shards)
    manifest = build.manifest_of(config)
    with progress_bar(console, "checking recordings") as told:
        checked = build.checked_of(config, manifest, num_threads=machine.num_cores, progress=told)
    levels = [level if len(level) else None for level in checked.levels]
    segments, notes = make_segments(checked.manifest, levels, build.segment_rule(config))
    if config.mode.name is Mode.lazy and (note := note_on_lazy(segments)):
        notes.append(note)
    return Rows(checked, segments, build.maker_of(config, segments), notes, None)


def _tell_data(
    console: Console,
    config: RootConfig,
    checked: Checked,
    segments: SegmentTable,
    folds: Folds,
    notes: list[str],
) -> None:
    table = checked.manifest.table
    hours = float((table["num_frames"] / table["sample_rate_hz"]).sum()) / 3600
    console.print(
        f"data: {checked.manifest.name}, {len(table)} recordings ({hours:.2f} h) of "
        f"{len(segments.classes)} classes by {len(segments.groups)} groups; "
        f"{len(segments)} segments of {config.segment.duration_s:g} s"
    )
    leak = " (leaks, on purpose)" if folds.leaky else ""
    console.print(f"folds: {folds.num_folds}, {folds.kind}{leak}, split {folds.hash}")
    for note in (*checked.manifest.notes, *notes, *folds.notes):
        console.print(f"  note: {note}", markup=False)


def prepare_loader(prepared: Prepared, console: Console) -> Loader:
    """Return the running loader; stores are built first where the mode has one."""
    config = prepared.config
    frontend = build.frontend_settings(config)
    options = build.store_options(config, prepared.machine, prepared.plan)
    about: dict[str, object] = {
        "dataset": prepared.manifest.name,
        "segments": len(prepared.segments),
        "keep": prepared.maker.spec.keep.value,
        "shape": list(prepared.maker.spec.shape),
        "dtype": prepared.maker.spec.dtype.value,
        "frontend": frontend,
    }
    dataset: SegmentDataset
    if prepared.shards is not None and config.mode.name is Mode.streaming:
        dataset = mixed_shards.stream(prepared.shards, prepared.maker.spec, options, about)
    else:
        with progress_bar(console, f"segments of mode={config.mode.name.value}") as told:
            dataset = open_dataset(
                config.mode.name,
                prepared.maker,
                key=store_key(prepared.maker, frontend),
                about=about,
                options=options,
                progress=told,
                say=console.print,
            )
        prepared.maker.close()
    return make_loader(
        dataset,
        prepared.plan,
        device=prepared.device,
        timeout_s=config.loader.timeout_s,
        say=console.print,
    )
