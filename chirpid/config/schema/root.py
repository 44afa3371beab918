"""All settings in one tree."""

from __future__ import annotations

from dataclasses import dataclass, field

from chirpid.config.schema.machine import (
    HardwareConfig,
    LoaderConfig,
    MemoryConfig,
    PathsConfig,
    TrackingConfig,
)
from chirpid.config.schema.recordings import DatasetConfig, SegmentConfig
from chirpid.config.schema.sound import AugmentConfig, FrontEndConfig, ModeConfig
from chirpid.config.schema.training import CvConfig, EngineConfig, ModelConfig, OptimConfig


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
