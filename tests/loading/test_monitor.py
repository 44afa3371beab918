"""The clock runs around next() and nothing else. Shares are compared, never times."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from chirpid.loading.monitor import EpochMonitor, GpuProbe
from chirpid.types import Batch


def batches(number: int, wait_s: float = 0.0, size: int = 4) -> Iterator[Batch]:
    for turn in range(number):
        time.sleep(wait_s)
        ids = np.arange(turn * size, turn * size + size)
        yield Batch(ids=ids, inputs=torch.zeros(size, 10), stages={"decode": 0.25, "gather": 0.5})


def watched(wait_s: float, step_s: float, number: int = 6) -> EpochMonitor:
    monitor = EpochMonitor()
    for _ in monitor.watch(batches(number, wait_s)):
        time.sleep(step_s)
    return monitor


def test_a_slow_loader_is_seen_and_a_slow_step_is_not_blamed_on_it() -> None:
    starving, busy = watched(0.05, 0.001), watched(0.0, 0.05)
    assert starving.wait_share > 0.6 > 0.4 > busy.wait_share
    assert starving.summary()["loader/wait_share"] == pytest.approx(starving.wait_share)
    assert starving.summary()["loader/occupancy"] < 0.5 < busy.summary()["loader/occupancy"]


def test_the_wait_of_one_slow_batch_is_found_in_the_tail_and_the_first_batch() -> None:
    def one_slow() -> Iterator[Batch]:
        for turn, batch in enumerate(batches(20)):
            time.sleep(0.2 if turn == 0 else 0.0)
            yield batch

    monitor = EpochMonitor()
    for _ in monitor.watch(one_slow()):
        pass
    figures = monitor.summary()
    assert figures["loader/first_batch_s"] >= 0.2
    assert figures["loader/wait_ms_p99"] > 10 * figures["loader/wait_ms_p50"]


def test_counts_and_stages_are_those_of_the_batches() -> None:
    monitor = watched(0.0, 0.0, number=5)
    figures = monitor.summary()
    assert monitor.num_samples == 20
    assert monitor.num_bytes == 5 * 4 * 10 * 4
    assert figures["loader/decode_ms_per_sample"] == pytest.approx(5 * 250 / 20)
    assert figures["loader/gather_ms_per_sample"] == pytest.approx(5 * 500 / 20)
    assert figures["loader/samples_per_s"] * monitor.elapsed_s == pytest.approx(20)
    assert figures["loader/rss_mib"] > 10


def test_the_timeline_is_in_order() -> None:
    timeline = watched(0.002, 0.002).timeline
    assert timeline.shape == (6, 3)
    assert (np.diff(timeline.reshape(-1)) >= 0).all()


def test_its_own_share_is_reported_and_small() -> None:
    monitor = watched(0.0, 0.01, number=60)
    share = monitor.summary()["loader/monitor_share"]
    assert monitor.own_s > 0
    assert 0 < share < 0.5, "far above what it takes, for a busy machine"


def test_an_epoch_without_batches_has_no_figures() -> None:
    monitor = watched(0.0, 0.0, number=0)
    assert monitor.summary() == {}
    assert monitor.wait_share == 0.0
    assert monitor.timeline.shape == (0, 3)


def test_an_epoch_that_is_left_counts_the_steps_that_were_done() -> None:
    monitor = EpochMonitor()
    for number, _ in enumerate(monitor.watch(batches(10))):
        if number == 3:
            break
    assert monitor.num_samples == 12
    assert len(monitor.timeline) == 3


def test_an_error_of_the_loader_passes_through() -> None:
    def fails() -> Iterator[Batch]:
        yield from batches(2)
        raise KeyError("gone")

    with pytest.raises(KeyError):
        list(EpochMonitor().watch(fails()))


def test_counts_are_counted_and_not_taken_for_seconds() -> None:
    monitor = EpochMonitor()
    stages = {"decode": 0.5, "num_cache_hits": 3.0}
    batches = [Batch(np.arange(4), torch.zeros(4, 2), dict(stages)) for _ in range(2)]
    for _ in monitor.watch(iter(batches)):
        pass
    figures = monitor.summary()
    assert figures["loader/num_cache_hits"] == 6.0
    assert figures["loader/decode_ms_per_sample"] == 125.0
    assert "loader/num_cache_hits_ms_per_sample" not in figures


def test_without_a_gpu_nothing_is_said_of_one() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    probe = GpuProbe(every_s=0.0)
    probe.sample(1.0)
    assert probe.summary() == {}
