"""The process that `chirpid bench memory` watches: opens a set in a mode and goes through it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from chirpid.bench.material import Bench, Options, open_recordings
from chirpid.bench.memory import BASE, EPOCHS, OPEN
from chirpid.bench.ours import inline, threads
from chirpid.data.datasets import SegmentDataset
from chirpid.data.order import batches_of, epoch_order
from chirpid.loading.backends.base import LoaderBackend
from chirpid.types import Mode, Order, StoreDtype

SHARD_SEGMENTS, WINDOW_SEGMENTS = 16, 64
"""Small, so that the window of a stream is smaller than the smaller set."""


def main() -> None:
    """Say each stage and wait until it has been seen, so that none is missed."""
    asked = json.loads(sys.argv[1])
    folder, mode = Path(asked["folder"]), Mode(asked["mode"])
    _say(BASE)
    recordings = open_recordings(folder, asked["duration_s"])
    bench = Bench(folder, Options(), print)
    _say(OPEN)
    dataset = bench.dataset(
        mode, recordings, StoreDtype.float16, shard_segments=SHARD_SEGMENTS,
        window_segments=WINDOW_SEGMENTS,
    )  # fmt: skip
    batch_size = asked["batch_size"]
    batch_bytes = dataset.spec.batch_row_bytes * batch_size
    _say(EPOCHS, row_bytes=dataset.spec.row_bytes, batch_bytes=batch_bytes)
    if not asked["building"]:
        backend = _backend(dataset, bench.cores)
        ids = np.arange(len(recordings.segments))
        for epoch in range(2):
            order = epoch_order(
                ids, recordings.segments.key_N, seed=0, epoch=epoch,
                order=Order.windowed if mode is Mode.streaming else Order.shuffled,
                block_segments=SHARD_SEGMENTS, window_segments=WINDOW_SEGMENTS,
            )  # fmt: skip
            for batch in backend.run(batches_of(order, batch_size)):
                float(batch.inputs.sum())
        backend.close()
    dataset.close()


def _backend(dataset: SegmentDataset, cores: int) -> LoaderBackend:
    if dataset.mode is Mode.lazy:
        return threads(dataset, cores)
    return threads(dataset, 1) if dataset.mode is Mode.streaming else inline(dataset)


def _say(stage: str, **told: float) -> None:
    print(json.dumps({"stage": stage, "told": told}), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
