"""Measure what logging of single steps costs the training: microseconds a step, and its share.

    python scripts/measure_step_logging.py [STEPS]

Goes through STEPS steps as the training loop does, with the journal, its sender and the sampling
of the machine at work, and times the calls that the loop makes. Run it on a machine at rest.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from chirpid.engine.rule import Part
from chirpid.loading.monitor import EpochMonitor
from chirpid.reports.tracked import TrackedObserver
from chirpid.tracking import open_tracker
from chirpid.types import Batch

BATCH, EPOCH_STEPS = 32, 1000
STEPS_MS = (1.0, 10.0, 100.0)
"""Lengths of a step for which the share is told."""


def batches() -> Iterator[Batch]:
    inputs = np.zeros((BATCH, 8), dtype=np.float32)
    for step in range(EPOCH_STEPS):
        yield Batch(ids=np.arange(step, step + BATCH), inputs=inputs)


def calls_us(folder: Path, num_epochs: int) -> list[float]:
    """Return how long each call at the end of a step took."""
    tracker = open_tracker("mlflow", folder=folder, outputs=folder, system_s=10.0)
    observer = TrackedObserver(tracker, tracker.start_run("run"), folder)
    tracker.flush(120.0)  # the sender has started, which happens once a run
    ids, found = np.arange(BATCH), []
    observer.fold_starts(Part(0, ids, ids), num_epochs)
    for epoch in range(num_epochs):
        observer.epoch_starts(0, epoch, EPOCH_STEPS)
        monitor = EpochMonitor()
        for done, _ in enumerate(monitor.watch(batches()), start=1):
            begin = time.perf_counter()
            observer.batch_done(0, done, 1.0 / done, monitor)
            found.append(1e6 * (time.perf_counter() - begin))
    tracker.close()
    return found


def main() -> None:
    num_epochs = max(1, int(sys.argv[1]) // EPOCH_STEPS) if len(sys.argv) > 1 else 5
    print("steps      a point each     mean µs   median µs   longest µs   share of a step of")
    for epochs in (1, num_epochs):
        with tempfile.TemporaryDirectory() as folder:
            found = calls_us(Path(folder), epochs)
        mean = statistics.fmean(found)
        shares = ", ".join(f"{ms:g} ms {0.1 * mean / ms:.3f} %" for ms in STEPS_MS)
        print(f"{len(found):<10} {-(-len(found) // 1000):<5} steps     {mean:9.2f} "
              f"{statistics.median(found):11.2f} {max(found):12.0f}   {shares}")  # fmt: skip


if __name__ == "__main__":
    main()
