"""The clock runs around next() and nothing else. Shares are compared, never times."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chirpid.loading.monitor import EpochMonitor
from chirpid.loading.monitor.epoch import MIB, MOST_SAMPLES, _percentiles
from chirpid.loading.monitor.usage import RARELY_S
from chirpid.types import Batch, Span


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


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def scripted(
    batches: Sequence[tuple[float, float]], spans: Sequence[tuple[Span, ...]] = ()
) -> EpochMonitor:
    """Return a monitor that has seen batches of (wait, step) seconds."""
    clock = Clock()
    monitor = EpochMonitor(clock=clock)

    def loaded() -> Iterator[Batch]:
        for number, (wait_s, _) in enumerate(batches):
            clock.now += wait_s
            made = spans[number] if spans else ()
            yield Batch(np.arange(4), torch.zeros(4, 10), {"decode": 0.5}, spans=made)

    for number, _ in enumerate(monitor.watch(loaded())):
        monitor.transfer_s += 0.125
        monitor.augment_s += 0.25
        clock.now += batches[number][1]
    return monitor


def test_every_figure_of_waiting_and_working_is_the_one_of_the_clock() -> None:
    figures = scripted([(3.0, 1.0), (0.0, 1.0), (0.0, 2.0), (1.0, 2.0)]).summary()
    wanted = {
        "wait_share": 0.4, "wait_ms_mean": 1000.0, "wait_ms_p50": 500.0, "wait_ms_p95": 2700.0,
        "wait_ms_p99": 2940.0, "first_batch_s": 3.0, "occupancy": 0.5, "step_ms": 1500.0,
        "samples_per_s": 1.6, "bytes_per_s": 64.0, "transfer_ms": 125.0, "augment_ms": 250.0,
        "decode_ms_per_sample": 125.0, "monitor_share": 0.0,
    }  # fmt: skip
    found = {name.removeprefix("loader/"): value for name, value in figures.items()}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert set(found) - set(wanted) >= {"disk_mib", "cpu_share", "rss_mib"}
    assert "worker_busy_share" not in found


def test_a_worker_is_busy_while_it_works_on_what_is_handed_out() -> None:
    spans = [
        (Span(0, 100.0, 102.0, {}, 1.5), Span(2, 100.0, 101.0, {}, 0.5)),
        (Span(0, 102.0, 103.0, {}, 1.0),),
        (Span(2, 104.0, 105.0, {}),),
    ]
    figures = scripted([(2.0, 1.0), (0.0, 2.0), (0.0, 5.0)], spans).summary()
    assert figures["loader/worker_busy_share"] == pytest.approx((3 + 0 + 2) / 3 / 10)
    assert figures["loader/worker_busy_share_min"] == 0.0, "worker 1 got nothing to do"
    assert figures["loader/fetch_cpu_share"] == pytest.approx(3 / 10)


def test_transfer_and_augmentation_are_kept_batch_by_batch() -> None:
    recording = scripted([(1.0, 1.0)] * 3).recording()
    assert recording.inside_B2.tolist() == [[0.125, 0.25]] * 3
    assert recording.timeline_B3.tolist() == [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]


def test_what_is_in_use_is_looked_at_once_a_second_and_seldom_in_a_long_epoch() -> None:
    times = scripted([(0.0, 0.25)] * 40).recording().samples_AU[:, 0]
    assert times.tolist() == [0.0, *range(1, 11)]
    monitor = scripted([(0.0, 1.0)] * 2 * MOST_SAMPLES)
    times = monitor.recording().samples_AU[:, 0]
    assert MOST_SAMPLES / 2 <= len(times) <= MOST_SAMPLES + 1
    assert times[0] == 0.0
    assert (np.diff(times) > 0).all()
    monitor.summary()
    assert monitor.recording().samples_AU[-1, 0] == monitor.elapsed_s


def test_processor_time_and_memory_of_an_epoch_are_those_of_the_process() -> None:
    held: list[bytearray] = []

    def busy() -> Iterator[Batch]:
        for batch in batches(2):
            held.append(bytearray(b"x") * (32 * MIB))
            until = time.process_time() + 0.1
            while time.process_time() < until:
                pass
            yield batch

    monitor, begin = EpochMonitor(), time.process_time()
    for _ in monitor.watch(busy()):
        pass
    figures = monitor.summary()
    took = time.process_time() - begin
    assert figures["loader/cpu_share"] * monitor.elapsed_s == pytest.approx(took, abs=0.05)
    assert figures["loader/rss_mib"] > 64
    assert figures["loader/disk_mib"] >= 0


def test_epochs_that_are_shorter_than_what_is_read_is_apart_share_it() -> None:
    time.sleep(RARELY_S)
    reads, told = set(), []
    begin = time.perf_counter()
    while time.perf_counter() - begin < 3.5 * RARELY_S:
        monitor = EpochMonitor(rarely=True)
        for _ in monitor.watch(batches(2, 0.005)):
            pass
        figures = monitor.summary()
        assert figures["loader/rss_mib"] > 0
        told.append("loader/cpu_share" in figures)
        reads |= {read_at for _, read_at, _ in monitor._samples}
    assert len(told) > 5
    assert len(reads) <= 5
    assert 0 < sum(told) < len(reads) < len(told)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_percentiles_are_those_of_numpy(values: list[float], percent: float) -> None:
    (found,) = _percentiles(values, [percent])
    assert found == pytest.approx(np.percentile(values, percent), rel=1e-9, abs=1e-9)


def test_waits_are_bracketed_by_a_clock_outside() -> None:
    """The monitor's wait is within that of whoever asks; its step holds that of the caller."""
    monitor, waited, stepped = EpochMonitor(), 0.0, 0.0
    passing = monitor.watch(batches(5, 0.004))
    while True:
        begin = time.perf_counter()
        batch = next(passing, None)
        waited += time.perf_counter() - begin
        if batch is None:
            break
        begin = time.perf_counter()
        time.sleep(0.002)
        stepped += time.perf_counter() - begin
    figures = monitor.summary()
    assert 0.02 <= figures["loader/wait_ms_mean"] * 5e-3 <= waited
    assert 0.01 <= stepped <= figures["loader/step_ms"] * 5e-3
    assert figures["loader/first_batch_s"] >= 0.004
    assert 0.02 / monitor.elapsed_s <= figures["loader/wait_share"] <= 1
