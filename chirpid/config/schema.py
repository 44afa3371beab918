"""The settings: name, type, default, unit and rule of each. YAML files hold differences only.

Rules that concern one group live in its `__post_init__`; rules across groups in `resolve.py`.
A value of None means "decided for you", and `explain=true` says what was decided and why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chirpid.errors import ConfigError
from chirpid.types import (
    Backend,
    GroupBy,
    Keep,
    Mode,
    OnBad,
    Order,
    Policy,
    StartMethod,
    StoreDtype,
)


def _require(ok: bool, setting: str, value: object, rule: str) -> None:
    if not ok:
        raise ConfigError(f"{setting}={value} is not allowed: {rule}.")


class DatasetKind(StrEnum):
    demo = "demo"
    folder = "folder"
    csv = "csv"
    custom = "custom"


class FrontEndKind(StrEnum):
    logmel = "logmel"
    pcen = "pcen"


class Normalise(StrEnum):
    none = "none"
    overall = "overall"
    band = "band"


class CvKind(StrEnum):
    grouped_kfold = "grouped_kfold"
    predefined = "predefined"
    holdout = "holdout"


class Selection(StrEnum):
    last = "last"
    inner = "inner"
    fold = "fold"


class OptimName(StrEnum):
    adam = "adam"
    adamw = "adamw"


class TrackingKind(StrEnum):
    mlflow = "mlflow"
    off = "off"


class CheckKind(StrEnum):
    full = "full"
    header = "header"


@dataclass(kw_only=True, slots=True)
class HardwareConfig:
    """Facts and caps of a machine. None is read from the machine, which also clamps the rest."""

    name: str = "auto"
    num_cores: int | None = None
    """Logical cores to plan for."""
    ram_gib: float | None = None
    gpu: str | None = None
    """Name of the GPU, or none."""
    gpu_memory_gib: float | None = None
    num_workers_heavy: int | None = None
    """Workers when augmentation or standardisation run in the workers."""
    prefetch_heavy: int = 4
    """Batches each worker prepares ahead in that case."""
    num_workers_light: int | None = None
    """Workers when they only load."""
    prefetch_light: int = 4
    core_fraction: float = 0.75
    """Share of the cores used when the profile names no worker count."""
    small_set_samples: int = 1000
    max_workers_small: int = 4
    large_set_samples: int = 10000
    extra_workers_large: int = 2
    max_workers: int = 16
    low_memory_gib: float = 4.0
    """Below this much free memory at most `max_workers_low_memory` workers."""
    max_workers_low_memory: int = 2
    pin_memory: bool = True
    persistent_workers: bool = True

    def __post_init__(self) -> None:
        _require(
            0 < self.core_fraction <= 1, "hardware.core_fraction", self.core_fraction, "0 < x <= 1"
        )
        _require(self.max_workers >= 0, "hardware.max_workers", self.max_workers, "0 or more")


@dataclass(kw_only=True, slots=True)
class DemoConfig:
    """The synthetic birds of `dataset=demo`."""

    num_species: int = 6
    num_recordists: int = 10
    recordings_per_species: int = 16
    min_s: float = 3.0
    max_s: float = 14.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require(
            2 <= self.num_species <= 24, "dataset.demo.num_species", self.num_species, "2 to 24"
        )
        _require(
            self.num_recordists >= 1, "dataset.demo.num_recordists", self.num_recordists, ">= 1"
        )
        _require(self.recordings_per_species >= 1, "dataset.demo.recordings_per_species",
                 self.recordings_per_species, ">= 1")  # fmt: skip
        _require(0.2 <= self.min_s <= self.max_s, "dataset.demo.min_s", self.min_s,
                 "0.2 <= min_s <= max_s")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class DatasetConfig:
    """Where recordings and labels come from."""

    name: str = "demo"
    kind: DatasetKind = DatasetKind.demo
    root: str | None = None
    """Folder of the dataset; relative paths are the user's."""
    table: str | None = None
    """Label table, relative to `root` or absolute."""
    audio_dir: str = ""
    """Folder of the recordings, relative to `root`; file names of the table are relative to it."""
    filename_column: str = "filename"
    label_column: str = "label"
    group_column: str | None = None
    """Column of what must not be split. None: `group`, else `recordist`, else each recording."""
    fold_column: str | None = None
    """Column of official folds, for cv=predefined."""
    secondary_column: str | None = None
    """Column of further species: a Python or JSON list, or separated by ';'."""
    secondary_weight: float = 0.0
    """Training target of secondary species; the primary one has 1. 0 ignores them."""
    delimiter: str | None = None
    """None detects comma, semicolon, tab or bar."""
    encoding: str | None = None
    """None detects UTF-8 (with or without mark), UTF-16, else Latin-1."""
    filter: str | None = None
    """Rows to keep, as a pandas query: "core == 1 and quality in ['A', 'B']"."""
    limit: int | None = None
    """Keep at most this many recordings per class, for a first try."""
    check: CheckKind = CheckKind.full
    """`full` decodes every file once; `header` trusts the headers."""
    on_bad: OnBad = OnBad.stop
    group_missing: OnBad = OnBad.stop
    """Rows without a group: stop, or `skip` to make each such recording a group of its own."""
    demo: DemoConfig = field(default_factory=DemoConfig)
    target: str | None = None
    """kind=custom: dotted path of a function `f(**params) -> pandas.DataFrame` of recordings."""
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(0 <= self.secondary_weight <= 1, "dataset.secondary_weight", self.secondary_weight,
                 "0 to 1")  # fmt: skip
        _require(self.limit is None or self.limit >= 1, "dataset.limit", self.limit, "1 or more")
        if self.kind in (DatasetKind.folder, DatasetKind.csv) and not self.root:
            raise ConfigError(
                f"dataset={self.name} needs dataset.root, the folder of your recordings."
            )
        if self.kind is DatasetKind.csv and not self.table:
            raise ConfigError("dataset.kind=csv needs dataset.table, the name of the label table.")
        if self.kind is DatasetKind.custom and not self.target:
            raise ConfigError("dataset.kind=custom needs dataset.target, a dotted function name.")


@dataclass(kw_only=True, slots=True)
class SegmentConfig:
    """How recordings are cut into windows of equal length."""

    duration_s: float = 5.0
    hop_s: float | None = None
    """Step between windows; None means `duration_s`, that is, no overlap."""
    min_s: float = 0.2
    """Recordings shorter than this are refused as too short."""
    pad: bool = True
    """Zero-pad the last window of a recording (and short recordings)."""
    min_tail_s: float = 1.0
    """A last window with less real sound than this is dropped, unless it is the only one."""
    min_dbfs: float | None = -75.0
    """Windows whose loudest quarter second is below this level are dropped; None keeps all."""
    max_below_peak_db: float | None = None
    """Drop windows whose level is further below the recording's loudest window than this."""
    max_per_recording: int | None = None
    """Keep at most this many windows of a recording: its loudest."""

    def __post_init__(self) -> None:
        _require(self.duration_s > 0, "segment.duration_s", self.duration_s, "more than 0 s")
        _require(self.hop_s is None or self.hop_s > 0, "segment.hop_s", self.hop_s, "more than 0 s")
        _require(self.min_s >= 0, "segment.min_s", self.min_s, "0 s or more")
        _require(self.max_per_recording is None or self.max_per_recording >= 1,
                 "segment.max_per_recording", self.max_per_recording, "1 or more")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class FrontEndConfig:
    """Waveform to spectrogram."""

    kind: FrontEndKind = FrontEndKind.logmel
    sample_rate_hz: int = 32000
    fft_samples: int = 1024
    hop_samples: int = 512
    num_mels: int = 64
    fmin_hz: float = 150.0
    fmax_hz: float = 15000.0
    top_db: float = 100.0
    """Log-mel floor: values lie in [-top_db, ...] dB re full scale."""
    pcen_time_constant_s: float = 0.4
    pcen_gain: float = 0.98
    pcen_bias: float = 2.0
    pcen_power: float = 0.5
    pcen_eps: float = 1e-6
    normalise: Normalise = Normalise.band
    """Mean and deviation of the training part of each fold: none, overall, or per mel band."""
    clip_median: bool = False
    """Subtract each band's median over the clip: removes steady noise and microphone colour."""
    stats_segments: int = 2048
    """Training segments that the statistics are taken from, at most."""

    def __post_init__(self) -> None:
        nyquist = self.sample_rate_hz / 2
        _require(
            self.sample_rate_hz >= 1000, "frontend.sample_rate_hz", self.sample_rate_hz, ">= 1000"
        )
        _require(self.fft_samples >= 16, "frontend.fft_samples", self.fft_samples, "16 or more")
        _require(0 < self.hop_samples <= self.fft_samples, "frontend.hop_samples", self.hop_samples,
                 "1 to fft_samples")  # fmt: skip
        _require(self.num_mels >= 4, "frontend.num_mels", self.num_mels, "4 or more")
        _require(0 <= self.fmin_hz < self.fmax_hz, "frontend.fmin_hz", self.fmin_hz,
                 "0 <= fmin_hz < fmax_hz")  # fmt: skip
        _require(self.fmax_hz <= nyquist, "frontend.fmax_hz", self.fmax_hz,
                 f"at most half the sample rate, {nyquist:g} Hz")  # fmt: skip
        _require(
            self.stats_segments >= 1, "frontend.stats_segments", self.stats_segments, "1 or more"
        )


@dataclass(kw_only=True, slots=True)
class ModeConfig:
    """How segments are kept between epochs."""

    name: Mode = Mode.cached
    keep: Keep = Keep.spectrogram
    """Keep spectrograms (least work per epoch) or waveforms (waveform augmentation)."""
    dtype: StoreDtype | None = None
    """None: float16 for spectrograms, int16 for waveforms."""
    cache_gib: float = 50.0
    """Disk budget of all caches together; the least recently used are removed first."""
    shard_segments: int = 512
    """Segments per shard of mode=streaming, and per block of order=windowed."""
    window_segments: int = 16384
    """Shuffle window of order=windowed. One that covers the set is a full shuffle."""

    def __post_init__(self) -> None:
        if self.dtype is StoreDtype.int16 and self.keep is Keep.spectrogram:
            raise ConfigError(
                "mode.dtype=int16 is for waveforms. Use float16, or mode.keep=waveform."
            )
        _require(self.cache_gib > 0, "mode.cache_gib", self.cache_gib, "more than 0")
        _require(self.shard_segments >= 1, "mode.shard_segments", self.shard_segments, "1 or more")
        _require(
            self.window_segments >= 1, "mode.window_segments", self.window_segments, "1 or more"
        )


@dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """Random changes of training segments. Each draw is keyed by (seed, epoch, segment)."""

    name: str = "none"
    gain_db: float = 0.0
    """Level changes drawn from plus or minus this."""
    noise_db: float | None = None
    """Gaussian noise up to this level re full scale, in dB (for example -50); None for none."""
    noise_range_db: float = 30.0
    """The level is drawn between `noise_db` and this much below."""
    time_shift_s: float = 0.0
    """Circular shifts drawn from plus or minus this."""
    num_freq_masks: int = 0
    freq_mask_bands: int = 8
    """Widest frequency mask, in mel bands."""
    num_time_masks: int = 0
    time_mask_s: float = 0.5
    """Widest time mask."""
    band_gain_db: float = 0.0
    """Random smooth equaliser, plus or minus this: another microphone."""
    mixup_alpha: float = 0.0
    """Beta parameter of mixup within a batch; 0 for none."""
    probability: float = 1.0
    """Share of the segments that are augmented at all."""

    def __post_init__(self) -> None:
        _require(0 <= self.probability <= 1, "augment.probability", self.probability, "0 to 1")
        for name in (
            "gain_db", "time_shift_s", "num_freq_masks", "num_time_masks", "mixup_alpha",
            "band_gain_db", "freq_mask_bands", "time_mask_s", "noise_range_db",
        ):  # fmt: skip
            _require(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "0 or more")


@dataclass(kw_only=True, slots=True)
class LoaderConfig:
    """Policy of loading; the machine and the profile bound it."""

    policy: Policy = Policy.balanced
    backend: Backend = Backend.auto
    batch_size: int = 32
    eval_batch_size: int | None = None
    """None: the same as `batch_size`."""
    num_workers: int | None = None
    prefetch: int | None = None
    """Batches in preparation per worker."""
    pin_memory: bool | None = None
    persistent_workers: bool | None = None
    start_method: StartMethod = StartMethod.auto
    order: Order = Order.auto
    """auto: `windowed` over `mode.window_segments`, which is a full shuffle when the set fits."""
    drop_last: bool = False
    """Drop the last short batch of a training epoch. Validation never drops."""
    timeout_s: float = 120.0
    """A worker that is silent for so long is reported."""

    def __post_init__(self) -> None:
        _require(self.batch_size >= 1, "loader.batch_size", self.batch_size, "1 or more")
        _require(self.eval_batch_size is None or self.eval_batch_size >= 1,
                 "loader.eval_batch_size", self.eval_batch_size, "1 or more")  # fmt: skip
        _require(self.num_workers is None or self.num_workers >= 0, "loader.num_workers",
                 self.num_workers, "0 or more")  # fmt: skip
        _require(self.prefetch is None or self.prefetch >= 1, "loader.prefetch", self.prefetch,
                 "1 or more")  # fmt: skip
        _require(self.timeout_s > 0, "loader.timeout_s", self.timeout_s, "more than 0 s")


@dataclass(kw_only=True, slots=True)
class MemoryConfig:
    """Budgets, against what the machine or its container has free."""

    fraction: float = 0.7
    """Share of the free memory that loading may take."""
    budget_gib: float | None = None
    """Loading may take this much; None takes `fraction`."""

    def __post_init__(self) -> None:
        _require(0 < self.fraction <= 1, "memory.fraction", self.fraction, "0 < x <= 1")
        _require(self.budget_gib is None or self.budget_gib > 0, "memory.budget_gib",
                 self.budget_gib, "more than 0")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """The network, from normalised spectrogram [B, 1, M, F] to logits [B, C]."""

    name: str = "small_cnn"
    target: str = "chirpid.models.small_cnn.SmallCNN"
    """Dotted path of a class; it is called with `num_classes` and `params`."""
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """How weights are updated. The learning rate warms up, then falls as a cosine to zero."""

    name: OptimName = OptimName.adamw
    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.05
    class_weights: bool = True
    """Weigh classes by the inverse root of their training segments, mean 1."""
    clip_norm: float | None = 5.0

    def __post_init__(self) -> None:
        _require(self.lr > 0, "optim.lr", self.lr, "more than 0")
        _require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")
        _require(0 <= self.label_smoothing < 1, "optim.label_smoothing", self.label_smoothing,
                 "0 <= x < 1")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class CvConfig:
    """How the set is split."""

    kind: CvKind = CvKind.grouped_kfold
    num_folds: int = 5
    group_by: GroupBy = GroupBy.group
    """`recording` and `segment` leak recordists or recordings; they exist to show how much."""
    folds: list[int] | None = None
    """Run only these folds; None runs all."""
    holdout_fraction: float = 0.2
    """cv=holdout: share of the recordings that are held out, by whole groups."""

    def __post_init__(self) -> None:
        _require(self.num_folds >= 2, "cv.num_folds", self.num_folds, "2 or more")
        _require(0 < self.holdout_fraction < 1, "cv.holdout_fraction", self.holdout_fraction,
                 "0 < x < 1")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class EngineConfig:
    """The training loop."""

    epochs: int = 20
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    amp: bool | None = None
    """Automatic mixed precision; None: on a GPU that has it."""
    selection: Selection = Selection.last
    """Which epoch is reported: the last; the best on an inner split of the training part
    (early stopping); or the best on the fold itself, which is optimistic and labelled so."""
    patience: int = 10
    """Epochs without improvement before early stopping (selection=inner or fold)."""
    inner_fraction: float = 0.15
    """Share of the training part, by whole groups, that selection=inner holds out."""
    monitor: str = "recording/macro_f1"
    """Metric that selection watches."""
    checkpoint_minutes: float = 5.0
    """A checkpoint is written at least so often, and after every epoch."""
    num_threads: int | None = None
    """Threads of the model on a CPU; None: all cores."""
    max_batches: int | None = None
    """Stop epochs after so many batches, to try things out."""
    deterministic: bool = True
    """Ask torch for deterministic algorithms."""
    bootstrap_samples: int = 1000
    """Resamples over recordings for the confidence intervals."""

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "engine.epochs", self.epochs, "1 or more")
        _require(self.patience >= 1, "engine.patience", self.patience, "1 or more")
        _require(0 < self.inner_fraction < 1, "engine.inner_fraction", self.inner_fraction,
                 "0 < x < 1")  # fmt: skip
        _require(self.bootstrap_samples >= 0, "engine.bootstrap_samples", self.bootstrap_samples,
                 "0 or more")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    """Where runs are logged."""

    kind: TrackingKind = TrackingKind.mlflow
    uri: str | None = None
    """None: a SQLite store in `paths.outputs`."""
    experiment: str = "chirpid"
    timeout_s: float = 10.0
    """A server that does not answer within this is away; data are kept and can be sent later."""


@dataclass(kw_only=True, slots=True)
class PathsConfig:
    """All outputs lie below one folder."""

    outputs: str = "outputs"
    """Runs, sweeps, MLflow's store and caches."""
    cache: str | None = None
    """Caches; None: `cache` below `outputs`."""


@dataclass(kw_only=True, slots=True)
class RootConfig:
    """Everything."""

    name: str = "run"
    """Name of the run folder and of the MLflow run."""
    seed: int = 0
    explain: bool = False
    """Print the plan and where each value came from; train nothing."""
    resume: str | None = None
    """`auto` goes on with the latest unfinished run of the same config; or a run folder."""
    metric: str = "recording/macro_f1"
    """What `train.py` returns to a sweeper: the mean over folds."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    frontend: FrontEndConfig = field(default_factory=FrontEndConfig)
    mode: ModeConfig = field(default_factory=ModeConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    cv: CvConfig = field(default_factory=CvConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
