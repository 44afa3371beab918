"""Settings of where it runs and what it may take: hardware, loader, memory, tracking, paths."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chirpid.config.schema.checks import require
from chirpid.types import Backend, Order, Policy, StartMethod


class TrackingKind(StrEnum):
    mlflow = "mlflow"
    off = "off"


@dataclass(kw_only=True, slots=True)
class HardwareConfig:
    """Facts and caps of a machine. None is read from the machine, which also clamps the rest."""

    name: str = "auto"
    num_cores: int | None = None
    """Logical cores to plan for."""
    ram_gib: float | None = None
    """Memory to plan for: budgets are shares of no more than this."""
    gpu: str | None = None
    """The words of the GPU's name that count; `none` leaves a GPU alone."""
    gpu_memory_gib: float | None = None
    """GPU memory to plan for."""
    num_workers_heavy: int | None = None
    """Workers when augmentation or standardisation run in the workers."""
    prefetch_heavy: int = 4
    """Batches each worker prepares ahead in that case."""
    num_workers_light: int | None = None
    """Workers when they only load."""
    prefetch_light: int = 4
    """Batches each worker prepares ahead in that case."""
    core_fraction: float = 0.75
    """Share of the cores used when the profile names no worker count."""
    small_set_samples: int = 1000
    """Below this many segments at most `max_workers_small` workers."""
    max_workers_small: int = 4
    large_set_samples: int = 10000
    """Above this many segments `extra_workers_large` more workers, up to `max_workers`."""
    extra_workers_large: int = 2
    max_workers: int = 16
    """Cap of all; what is asked for on the command line, too."""
    low_memory_gib: float = 4.0
    """Below this much free memory at most `max_workers_low_memory` workers."""
    max_workers_low_memory: int = 2
    pin_memory: bool = True
    """Page-locked memory for batches on their way to a GPU."""
    persistent_workers: bool = True
    """Worker processes outlive epochs and folds."""

    def __post_init__(self) -> None:
        require(
            0 < self.core_fraction <= 1, "hardware.core_fraction", self.core_fraction, "0 < x <= 1"
        )
        least = {"num_cores": 1, "num_workers_heavy": 0, "num_workers_light": 0, "max_workers": 0,
                 "max_workers_small": 0, "max_workers_low_memory": 0, "extra_workers_large": 0,
                 "prefetch_heavy": 1, "prefetch_light": 1}  # fmt: skip
        for name, lowest in least.items():
            value = getattr(self, name)
            require(value is None or value >= lowest, f"hardware.{name}", value,
                     f"{lowest} or more")  # fmt: skip
        for name in ("ram_gib", "gpu_memory_gib"):
            value = getattr(self, name)
            require(value is None or value > 0, f"hardware.{name}", value, "more than 0")


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
    epoch_segments: int | None = None
    """dataset.mix: draws of a training epoch; None: as many as there are training segments."""
    timeout_s: float = 120.0
    """A worker that is silent for so long is reported."""
    adapt: bool = False
    """Change workers and prefetch between epochs when the measurements ask for it."""
    probe_s: float = 3.0
    """loader=auto: seconds at most that are spent on measuring; short runs are given less."""

    def __post_init__(self) -> None:
        require(self.epoch_segments is None or self.epoch_segments >= 1, "loader.epoch_segments",
                 self.epoch_segments, "1 or more")  # fmt: skip
        require(self.batch_size >= 1, "loader.batch_size", self.batch_size, "1 or more")
        require(self.eval_batch_size is None or self.eval_batch_size >= 1,
                 "loader.eval_batch_size", self.eval_batch_size, "1 or more")  # fmt: skip
        require(self.num_workers is None or self.num_workers >= 0, "loader.num_workers",
                 self.num_workers, "0 or more")  # fmt: skip
        require(self.prefetch is None or self.prefetch >= 1, "loader.prefetch", self.prefetch,
                 "1 or more")  # fmt: skip
        require(self.timeout_s > 0, "loader.timeout_s", self.timeout_s, "more than 0 s")
        require(self.probe_s > 0, "loader.probe_s", self.probe_s, "more than 0 s")


@dataclass(kw_only=True, slots=True)
class MemoryConfig:
    """Budgets, against what the machine or its container has free."""

    fraction: float = 0.7
    """Share of the free memory that loading may take."""
    budget_gib: float | None = None
    """Loading may take this much; None takes `fraction`."""
    guard: bool = True
    """Give up prefetch, workers and rows in RAM when memory runs short in mid-run."""

    def __post_init__(self) -> None:
        require(0 < self.fraction <= 1, "memory.fraction", self.fraction, "0 < x <= 1")
        require(self.budget_gib is None or self.budget_gib > 0, "memory.budget_gib",
                 self.budget_gib, "more than 0")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    """Where runs are logged."""

    kind: TrackingKind = TrackingKind.mlflow
    uri: str | None = None
    """None: a SQLite store in `paths.outputs`."""
    experiment: str = "chirpid"
    timeout_s: float = 10.0
    """A server that does not answer within this is away; data are kept and can be sent later."""
    system_metrics: bool = True
    """Log how busy cores, memory, disk, network and GPU are; costs the training nothing."""
    system_metrics_s: float = 10.0
    """Seconds between two samples of the machine; the first ones come sooner."""

    def __post_init__(self) -> None:
        require(self.timeout_s > 0, "tracking.timeout_s", self.timeout_s, "more than 0 s")
        require(self.system_metrics_s >= 0.1, "tracking.system_metrics_s", self.system_metrics_s,
                "0.1 s or more")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class PathsConfig:
    """All outputs lie below one folder."""

    outputs: str = "outputs"
    """Runs, sweeps, MLflow's store and caches."""
    cache: str | None = None
    """Caches; None: `cache` below `outputs`."""
