"""The benchmark on recordings of one's own, in pieces that a notebook can put together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chirpid.audio.segment import SegmentRule
from chirpid.bench.facts import own_cpu_s
from chirpid.bench.material import Recordings
from chirpid.bench.model import Training
from chirpid.bench.ours import epoch
from chirpid.data.check import check_recordings
from chirpid.data.segments import make_segments
from chirpid.data.sources import load_manifest
from chirpid.loading.backends.base import LoaderBackend
from chirpid.seeds import U64
from chirpid.types import FloatArray, OnBad

DEMO = {"num_species": 4, "num_recordists": 6, "recordings_per_species": 8, "min_s": 5.0}


def own_recordings(
    folder: Path | None, *, made: Path, duration_s: float = 5.0, most: int | None = None
) -> Recordings:
    """Return the windows of a folder of recordings, one folder a class, or of the demo set.

    Args:
        folder: None makes the demo set below `made`.
        most: no more recordings than this are looked at.
    Raises:
        DataError: the folder holds nothing that can be used.
    """
    if folder is None:
        manifest = load_manifest("demo", name="demo", root=made / "demo", demo=DEMO)
    else:
        manifest = load_manifest("folder", name=folder.name, root=folder, limit=most)
    checked = check_recordings(manifest, on_bad=OnBad.skip)
    rule = SegmentRule(duration_s=duration_s)
    segments, _ = make_segments(checked.manifest, checked.levels, rule)
    paths = (Path(segments.root, segments.recordings[i]) for i in segments.recording_N.tolist())
    return Recordings(segments, tuple(paths))


def waits_of_epochs(
    backend: LoaderBackend, key_N: U64, *, batch_size: int, epochs: int = 2
) -> FloatArray:
    """Return the seconds that each batch was waited for, float64 [epochs * batches].

    One epoch more is run first: it fills buffers and starts workers.
    """
    waits: list[float] = []
    for number in range(epochs + 1):
        batches = epoch(backend, key_N, batch_size=batch_size, seed=number)
        while True:
            begin = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            if number:
                waits.append(time.perf_counter() - begin)
    return np.array(waits)


@dataclass(frozen=True, slots=True)
class TrainedEpoch:
    """Where the time of an epoch of training went."""

    seconds: float
    wait_share: float
    """Time blocked on batches, over all of it."""
    cores_used: float
    """Mean number of cores at work, those of workers included."""
    waited_s: FloatArray
    """Seconds of waiting, batch by batch."""
    stepped_s: FloatArray
    """Seconds of the steps."""


def train_epoch(backend: LoaderBackend, key_N: U64, *, batch_size: int) -> TrainedEpoch:
    """Return how an epoch of a small network went; one epoch before it is not counted."""
    training = Training()
    for batch in epoch(backend, key_N, batch_size=batch_size, seed=0):
        training.step(batch)
    waited, stepped = [], []
    begin, cpu_s = time.perf_counter(), own_cpu_s()
    batches = epoch(backend, key_N, batch_size=batch_size, seed=1)
    while True:
        asked = time.perf_counter()
        next_batch = next(batches, None)
        if next_batch is None:
            break
        got = time.perf_counter()
        training.step(next_batch)
        waited.append(got - asked)
        stepped.append(time.perf_counter() - got)
    seconds = time.perf_counter() - begin
    return TrainedEpoch(
        seconds=seconds,
        wait_share=sum(waited) / seconds,
        cores_used=(own_cpu_s() - cpu_s) / seconds,
        waited_s=np.array(waited),
        stepped_s=np.array(stepped),
    )
