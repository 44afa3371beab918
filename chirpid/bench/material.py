"""What is loaded: recordings made for the purpose, their windows, and the rows kept of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from chirpid.audio.encode import write_audio
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.segment import SegmentRule
from chirpid.bench.plain import prepare_workers
from chirpid.bench.timing import Case, Limit, Row, compare
from chirpid.bench.truth import Truth
from chirpid.data.check import check_recordings
from chirpid.data.datasets import SegmentDataset
from chirpid.data.modes import StoreOptions, open_dataset, store_key
from chirpid.data.rows import RowMaker
from chirpid.data.segments import SegmentTable, make_segments
from chirpid.data.sources import load_manifest
from chirpid.loading.hardware import usable_cores
from chirpid.types import Keep, Mode, StoreDtype

RATE_HZ = 32000
FRONTEND: dict[str, Any] = {
    "kind": "logmel",
    "sample_rate_hz": RATE_HZ,
    "fft_samples": 1024,
    "hop_samples": 320,
    "num_mels": 128,
    "fmin_hz": 50.0,
    "fmax_hz": 15000.0,
}
FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS")}
_NUM_SOUNDS = 16


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured. None takes what the work is defined with."""

    samples: int | None = None
    num_batches: int | None = None
    batch_size: int | None = None
    seeds: int = 5
    duration_s: float = 5.0
    """Length of a recording, which is one window."""
    budget_s: float = 60.0
    """No work begins another turn later than this, once it has had three."""


@dataclass(frozen=True, slots=True)
class Recordings:
    """A folder of recordings of one window each."""

    segments: SegmentTable
    paths: tuple[Path, ...]
    """[N] the file of each segment."""

    def maker(self, dtype: StoreDtype = StoreDtype.float32) -> RowMaker:
        """Return what makes the rows of these recordings."""
        return RowMaker(self.segments, FrontEnd(**FRONTEND), keep=Keep.spectrogram, dtype=dtype)


@dataclass(slots=True)
class Bench:
    """Where a benchmark works, what it has made so far, and how it compares."""

    folder: Path
    options: Options
    say: Callable[[str], None]
    cores: int = field(default_factory=usable_cores)
    _recordings: dict[tuple[str, int], Recordings] = field(default_factory=dict)
    _source: Tensor | None = None

    def __post_init__(self) -> None:
        prepare_workers()  # before anyone's first worker starts

    def batch_size(self, usual: int) -> int:
        """Return the rows of a batch."""
        return self.options.batch_size or usual

    def samples(self, usual: int, *, batch_size: int) -> int:
        """Return the rows of a pass."""
        if self.options.num_batches:
            return self.options.num_batches * batch_size
        return self.options.samples or usual

    def recordings(self, kind: str, count: int) -> Recordings:
        """Return `count` recordings of a format, made on first use."""
        if (kind, count) not in self._recordings:
            self.say(f"  making {count} recordings, {kind}")
            folder = self.folder / f"{kind}-{count}"
            write_recordings(folder, kind, count, duration_s=self.options.duration_s)
            self._recordings[kind, count] = open_recordings(folder, self.options.duration_s)
        return self._recordings[kind, count]

    def dataset(
        self,
        mode: Mode,
        recordings: Recordings,
        dtype: StoreDtype = StoreDtype.float32,
        *,
        shard_segments: int = 64,
        window_segments: int = 256,
    ) -> SegmentDataset:
        """Return the recordings in a mode; a store is made on first use."""
        maker = recordings.maker(dtype)
        options = StoreOptions(
            cache_root=self.folder / "cache", cache_bytes=2**40, ram_bytes=2**40,
            num_threads=self.cores, shard_segments=shard_segments, window_segments=window_segments,
        )  # fmt: skip
        key = store_key(maker, FRONTEND)
        return open_dataset(mode, maker, key=key, about={}, options=options)

    def source(self, count: int, shape: tuple[int, ...]) -> Tensor:
        """Return float32 [count, *shape] to copy from: the same memory for every limit.

        How fast memory is depends on where it happens to lie: two tensors of one size can differ
        by half.
        """
        if self._source is None or self._source.shape != (count, *shape):
            self._source = torch.ones((count, *shape))
        return self._source

    def compare(
        self, cases: Sequence[Case], *, truth: Truth, baseline: str, limit: Limit, samples: int,
        limit_name: str = "limit", more_turns: int = 1, budget_s: float | None = None,
    ) -> list[Row]:  # fmt: skip
        """Return the rows of a work. A budget of its own is for one whose turns take long."""
        return compare(
            cases, truth=truth, baseline=baseline, limit=limit, limit_name=limit_name,
            num_samples=samples, seeds=range(self.options.seeds * more_turns), say=self.say,
            budget_s=budget_s or self.options.budget_s,
        )  # fmt: skip


def write_recordings(folder: Path, kind: str, count: int, *, duration_s: float) -> None:
    """Write `count` recordings of one window each: noise with chirps, each another mixture."""
    container, subtype = FORMATS[kind]
    generator = np.random.default_rng(0)
    time_s = np.arange(round(RATE_HZ * duration_s)) / RATE_HZ
    sounds = np.empty((_NUM_SOUNDS, len(time_s)), dtype=np.float32)
    for sound in sounds:
        sweep = np.sin(2 * np.pi * (2000 + 3000 * generator.random() * time_s) * time_s)
        sound[:] = 0.2 * sweep * (np.sin(7 * time_s) > 0)
        sound += 0.02 * generator.standard_normal(len(time_s), dtype=np.float32)
    (folder / "audio").mkdir(parents=True)
    names = [f"audio/{number:05d}.{kind}" for number in range(count)]
    gains = generator.uniform(0.2, 0.8, count)
    shifts = generator.integers(0, len(time_s), count)

    def write(number: int) -> None:
        one, other = sounds[number % _NUM_SOUNDS], sounds[(number * 5 + 3) % _NUM_SOUNDS]
        wave = gains[number] * one + (1 - gains[number]) * np.roll(other, shifts[number])
        write_audio(
            folder / names[number],
            wave.astype(np.float32),
            RATE_HZ,
            container=container,
            subtype=subtype,
        )

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(write, range(count)))
    labels = [f"bird {number % 2}" for number in range(count)]
    pd.DataFrame({"filename": names, "label": labels}).to_csv(folder / "metadata.csv", index=False)


def open_recordings(folder: Path, duration_s: float) -> Recordings:
    """Return the windows of a folder that `write_recordings` has written."""
    manifest = load_manifest("csv", name="bench", root=folder, table="metadata.csv")
    checked = check_recordings(manifest, kind="header")
    table, _ = make_segments(checked.manifest, checked.levels, SegmentRule(duration_s=duration_s))
    paths = (Path(table.root, table.recordings[i]) for i in table.recording_N.tolist())
    return Recordings(table, tuple(paths))
