"""Settings of what is heard: the dataset and its windows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chirpid.config.schema.checks import require
from chirpid.errors import ConfigError
from chirpid.types import OnBad


class DatasetKind(StrEnum):
    demo = "demo"
    folder = "folder"
    csv = "csv"
    custom = "custom"
    shards = "shards"


class CheckKind(StrEnum):
    full = "full"
    header = "header"


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
        require(
            2 <= self.num_species <= 24, "dataset.demo.num_species", self.num_species, "2 to 24"
        )
        require(
            self.num_recordists >= 1, "dataset.demo.num_recordists", self.num_recordists, ">= 1"
        )
        require(self.recordings_per_species >= 1, "dataset.demo.recordings_per_species",
                 self.recordings_per_species, ">= 1")  # fmt: skip
        require(0.2 <= self.min_s <= self.max_s, "dataset.demo.min_s", self.min_s,
                 "0.2 <= min_s <= max_s")  # fmt: skip


@dataclass(kw_only=True, slots=True)
class MixedSet:
    """One of the sets of shards that `dataset.mix` draws from."""

    root: str = ""
    """Folder or URL."""
    weight: float = 1.0
    """Its share of the draws, up to a common factor."""

    def __post_init__(self) -> None:
        if not self.root:
            raise ConfigError("A set of dataset.mix has no root. Give each a folder or address.")
        if not 0 < self.weight < math.inf:
            raise ConfigError(
                f"The weight of '{self.root}' in dataset.mix is {self.weight}. Use a number above "
                "0, or leave the set out."
            )


@dataclass(kw_only=True, slots=True)
class DatasetConfig:
    """Where recordings and labels come from."""

    name: str = "demo"
    kind: DatasetKind = DatasetKind.demo
    root: str | None = None
    """Folder of the dataset; relative paths are the user's. For shards also a URL."""
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
    storage_options: dict[str, Any] = field(default_factory=dict)
    """kind=shards at a URL: options of fsspec, such as `endpoint_url`; never credentials."""
    mix: list[MixedSet] = field(default_factory=list)
    """kind=shards: several sets instead of `root`. On a command line also {folder: weight, ...}."""

    def __post_init__(self) -> None:
        require(0 <= self.secondary_weight <= 1, "dataset.secondary_weight", self.secondary_weight,
                 "0 to 1")  # fmt: skip
        require(self.limit is None or self.limit >= 1, "dataset.limit", self.limit, "1 or more")
        if self.kind in (DatasetKind.folder, DatasetKind.csv) and not self.root:
            raise ConfigError(
                f"dataset={self.name} needs dataset.root, the folder of your recordings."
            )
        if self.kind is DatasetKind.shards and not (self.root or self.mix):
            raise ConfigError(
                f"dataset={self.name} needs dataset.root, the folder or address of the shards, or "
                "dataset.mix for several."
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
        require(self.duration_s > 0, "segment.duration_s", self.duration_s, "more than 0 s")
        require(self.hop_s is None or self.hop_s > 0, "segment.hop_s", self.hop_s, "more than 0 s")
        require(self.min_s >= 0, "segment.min_s", self.min_s, "0 s or more")
        require(self.max_per_recording is None or self.max_per_recording >= 1,
                 "segment.max_per_recording", self.max_per_recording, "1 or more")  # fmt: skip
