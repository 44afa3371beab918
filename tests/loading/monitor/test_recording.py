"""What is kept of an epoch: as arrays, as a checkpoint, and as curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from chirpid.engine import checkpoint
from chirpid.loading.monitor import EpochMonitor, Recording
from chirpid.loading.monitor.recording import KEPT_BATCHES
from chirpid.types import Batch, Span


def recorded() -> Recording:
    """Two workers made three batches; the second one was ready long before it was asked for."""
    return Recording(
        timeline_B3=np.array([[0.0, 2.0, 5.0], [5.0, 5.0, 6.0], [6.0, 8.0, 9.0]]),
        inside_B2=np.zeros((3, 2)),
        batch_S=np.array([0, 0, 1, 2]),
        worker_S=np.array([0, 1, 0, 1]),
        span_S2=np.array([[0.5, 2.0], [0.5, 1.0], [2.0, 3.0], [4.0, 8.0]]),
        stages=("decode",),
        stage_SK=np.array([[1.0], [0.5], [1.0], [4.0]]),
    )


def test_a_batch_is_ready_from_its_last_part_until_it_is_taken() -> None:
    times, numbers = recorded().ready()
    assert times.tolist() == [2.0, 2.0, 3.0, 5.0, 8.0, 8.0]
    assert numbers.tolist() == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    assert recorded().workers == [0, 1]


def test_what_the_loop_makes_itself_never_lies_ready() -> None:
    recording = recorded()
    recording.worker_S = np.full(4, -1)
    assert len(recording.ready()[0]) == 0
    assert recording.workers == []
    assert len(Recording().ready()[0]) == 0


def test_a_checkpoint_brings_it_back(tmp_path: Path) -> None:
    for recording in (recorded(), Recording()):
        checkpoint.save(tmp_path / "c.pt", {"recording": recording.state()})
        state = checkpoint.load(tmp_path / "c.pt")
        assert state is not None
        again = Recording.of(state["recording"])
        for name in Recording.__slots__:
            kept = getattr(recording, name)
            assert np.array_equal(getattr(again, name), kept), name
            assert type(getattr(again, name)) is type(kept)


def test_of_a_long_epoch_who_made_the_last_batches_is_kept() -> None:
    number = KEPT_BATCHES + 500

    def batches():
        for turn in range(number):
            yield Batch(
                np.arange(1), torch.zeros(1), {}, 0, (Span(turn % 3, 1.0, 2.0, {"decode": 0.5}),)
            )

    monitor = EpochMonitor()
    for _ in monitor.watch(batches()):
        pass
    recording = monitor.recording()
    assert len(recording.timeline_B3) == number
    assert recording.first_kept == 500
    assert recording.batch_S.tolist() == list(range(500, number))
    assert sum(monitor.busy_s.values()) == number, "figures are of the whole epoch"
    assert recording.stages == ("decode",)
    assert (recording.stage_SK == 0.5).all()
