"""The few types that cross layers: enums of settings and the batch.

Shape letters, here and in all of chirpid:
    B batch, N segments of a dataset, C classes, K folds
    T waveform samples, M mel bands, F frames
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def size_text(num_bytes: float) -> str:
    """Return a number of bytes for people: "21.4 GiB", "38.5 MiB"."""
    if num_bytes >= 2**30:
        return f"{num_bytes / 2**30:.1f} GiB"
    return f"{num_bytes / 2**20:.1f} MiB"


class Mode(StrEnum):
    """How a dataset keeps its data."""

    lazy = "lazy"
    eager = "eager"
    cached = "cached"
    streaming = "streaming"


class Keep(StrEnum):
    """What a store keeps of a segment."""

    spectrogram = "spectrogram"
    waveform = "waveform"


class StoreDtype(StrEnum):
    """Number type of kept rows. int16 is for waveforms only, uint8 for log-mel only."""

    uint8 = "uint8"
    int16 = "int16"
    float16 = "float16"
    float32 = "float32"


class ReadWay(StrEnum):
    """How rows of a cache are read."""

    auto = "auto"
    map = "map"
    direct = "direct"


class Backend(StrEnum):
    """Who fetches batches."""

    auto = "auto"
    inline = "inline"
    threads = "threads"
    processes = "processes"
    device = "device"


class Policy(StrEnum):
    """How far a loader may go."""

    safe = "safe"
    balanced = "balanced"
    aggressive = "aggressive"
    device = "device"
    auto = "auto"


class Order(StrEnum):
    """Order of the training segments in an epoch."""

    auto = "auto"
    shuffled = "shuffled"
    windowed = "windowed"
    sequential = "sequential"


class StartMethod(StrEnum):
    """How worker processes start."""

    auto = "auto"
    fork = "fork"
    forkserver = "forkserver"
    spawn = "spawn"


class OnBad(StrEnum):
    """What happens when some recordings cannot be used."""

    stop = "stop"
    skip = "skip"


class GroupBy(StrEnum):
    """What must not be on both sides of a split. `recording` and `segment` leak, on purpose."""

    group = "group"
    recording = "recording"
    segment = "segment"


class Span(NamedTuple):
    """What one worker did in one go: a batch, a part of one, or several small ones together.

    Times are those of `time.perf_counter`, which on Linux all processes share. The spans of a
    worker do not overlap.
    """

    worker: int
    """-1 is the calling thread."""
    begin_s: float
    end_s: float
    stages: Mapping[str, float]
    """Seconds per stage, and counts, as in `Batch.stages`."""
    core_s: float = 0.0
    """Seconds of it that the worker had a core; the rest it waited, for a disk or for its turn."""


@dataclass(slots=True)
class Batch:
    """One batch as a loader delivers it.

    `inputs` is valid until the next-but-one batch is asked for; copy it to keep it longer.
    """

    ids: IntArray
    """int64 [B], rows of the segment table."""
    inputs: torch.Tensor
    """float32 [B, T] waveforms or [B, M, F] spectrograms, not yet normalised. Of datasets that are
    no recordings, the `Columns` or `Loose` that `chirpid.data.general` knows."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds spent per stage while this batch was made (decode, resample, frontend, gather, ...),
    and counts, whose names begin with `num_`."""
    worker: int = -1
    """Which worker made it; -1 is the calling thread."""
    spans: tuple[Span, ...] = ()
    """Who made it and when; none where it was made together with the batch before."""

    def __len__(self) -> int:
        return len(self.ids)
