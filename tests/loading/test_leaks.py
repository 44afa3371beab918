"""A leak is named; what warms up, jumps, breathes or settles is not."""

from __future__ import annotations

import math
import mmap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.kept import RowSpec
from chirpid.data.order import batches_of
from chirpid.loading import leaks
from chirpid.loading.backends.processes import ProcessesBackend
from chirpid.loading.leaks import MIB, LeakWatch, ProcessMemory, Series, growth_per_epoch
from chirpid.native.heap import kept_memory
from chirpid.types import Keep, Mode, StartMethod, StoreDtype

RNG = np.random.default_rng(0)
EPOCHS = np.arange(40.0)
BASE = 400.0 * MIB


def noise(amplitude_mib: float) -> np.ndarray:
    return RNG.uniform(-amplitude_mib, amplitude_mib, len(EPOCHS)) * MIB


def watched(curve_mib) -> list[str]:
    """The lines of a process that takes `curve_mib(epoch)` beside its 400 MiB."""
    watch = LeakWatch()
    lines = []
    for epoch in range(40):
        taken = {"the training process": int(BASE + curve_mib(epoch) * MIB)}
        lines += watch.note(epoch, taken)
    return lines


@pytest.mark.parametrize("pace_mib", [1.0, 3.0, 50.0])
@pytest.mark.parametrize("noise_share", [0.0, 0.3])
def test_steady_growth_is_found_at_its_pace(pace_mib: float, noise_share: float) -> None:
    memory = BASE + EPOCHS * pace_mib * MIB + noise(noise_share * pace_mib)
    found = growth_per_epoch(EPOCHS, memory)
    assert found is not None
    assert found == pytest.approx(pace_mib * MIB, rel=0.05)


def test_a_leak_after_a_large_warm_up_is_found() -> None:
    memory = BASE + np.where(EPOCHS < 5, -300.0, 0.0) * MIB + EPOCHS * 5 * MIB
    assert growth_per_epoch(EPOCHS, memory) == pytest.approx(5 * MIB, rel=0.01)


@pytest.mark.parametrize(
    "curve",
    [
        lambda epoch: 0,
        lambda epoch: 300 * min(epoch, 4),  # warm-up
        lambda epoch: 500 if epoch >= 20 else 0,  # a plot, a checkpoint, a library loaded late
        lambda epoch: 200 * (epoch >= 15) + 200 * (epoch >= 30),
        lambda epoch: 150 * (epoch % 2),  # taken and given back
        lambda epoch: 100 * math.sin(epoch / 3),
        lambda epoch: 60 * math.log1p(epoch),  # an allocator that settles
        lambda epoch: 50 * math.sqrt(epoch),
        lambda epoch: 400 * (1 - math.exp(-epoch / 8)),  # a cache that fills
        lambda epoch: -20 * epoch,
        lambda epoch: 0.3 * epoch,  # 12 MiB over all
    ],
    ids=["flat", "warm-up", "jump", "two jumps", "breathing", "waves", "logarithm", "root",
         "filling", "shrinking", "slow"],
)  # fmt: skip
def test_what_is_no_leak_is_not_told(curve) -> None:
    assert watched(curve) == []


@given(st.lists(st.integers(0, 16 * MIB - 1), max_size=80))
def test_no_walk_within_the_threshold_is_ever_told(taken: list[int]) -> None:
    watch = LeakWatch()
    for epoch, num_bytes in enumerate(taken):
        assert watch.note(epoch, {"the training process": num_bytes}) == []


def test_a_leak_is_named_once_with_its_pace_and_again_when_doubled() -> None:
    lines = watched(lambda epoch: 20 * epoch)
    assert lines[0] == (
        "memory leak: the training process grows by 20.0 MiB an epoch (400.0 MiB to 680.0 MiB "
        "from epoch 1 to 15). Look for something kept from batch to batch, such as a loss that "
        "is not detached"
    )
    assert len(lines) == 1, "it has not doubled since"
    assert len(watched(lambda epoch: 100 * epoch)) == 2


def test_a_leak_that_grows_ever_faster_is_told() -> None:
    assert watched(lambda epoch: epoch**2)


def test_thousands_of_epochs_keep_few_figures_and_the_pace() -> None:
    series = Series()
    for epoch in range(5000):
        series.add(epoch, int(BASE + epoch * MIB / 100))
    assert len(series.epochs) <= leaks.MAX_POINTS
    gaps = np.diff(series.epochs)
    assert (gaps == gaps[0]).all()
    points = np.array([series.epochs, series.num_bytes], dtype=np.float64)
    assert growth_per_epoch(*points) == pytest.approx(MIB / 100, rel=0.01)


def test_a_process_that_is_gone_is_forgotten() -> None:
    watch = LeakWatch()
    watch.note(0, {"a": 1, "b": 1})
    watch.note(1, {"b": 1})
    assert list(watch.series) == ["b"]


class Leaking:
    """Keeps what it made, as a dict that only grows does.

    In pages of its own: a forked worker first fills what its parent had freed, and that is its
    already. After a long run of tests that is more than it leaks here.
    """

    mode = Mode.lazy
    spec = RowSpec(Keep.waveform, StoreDtype.float32, (16,))
    num_segments = 8
    looks_ahead = False

    def __init__(self, leak_bytes: int) -> None:
        self.leak_bytes, self.kept = leak_bytes, []

    def fetch(self, ids, out=None):
        if self.leak_bytes:
            pages = mmap.mmap(-1, self.leak_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            pages.write(bytes([1]) * self.leak_bytes)
            self.kept.append(pages)
        batch = torch.zeros(len(ids), 16) if out is None else out[: len(ids)].zero_()
        return batch, {}

    def close(self) -> None:
        """Nothing to release."""


@pytest.mark.parametrize("parent_freed_mib", [0, 60])
@pytest.mark.parametrize("leak_mib", [0, 2])
def test_a_dataset_that_leaks_in_a_worker_is_named(
    leak_mib: int, parent_freed_mib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "MIN_GAP_S", 0.0)
    with kept_memory():
        pass  # what is freed after it stays with the process, up to 64 MiB
    freed = [np.ones(2 * MIB, dtype=np.uint8) for _ in range(parent_freed_mib // 2)]
    del freed
    backend = ProcessesBackend(
        Leaking(leak_mib * MIB), num_workers=1, prefetch=1, start_method=StartMethod.fork
    )
    watch, memory, lines = LeakWatch(), ProcessMemory(), []
    try:
        for epoch in range(20):
            assert len(list(backend.run(batches_of(np.arange(8), 8)))) == 1
            read = memory.read()
            assert read is not None
            lines += watch.note(epoch, read)
    finally:
        backend.close()
    if not leak_mib:
        assert lines == []
        return
    (line,) = lines
    assert line.startswith("memory leak: loader worker 0 (pid ")
    assert "grows by 2.0 MiB an epoch" in line
    assert line.endswith("Look for a dataset or a transform that keeps what it made")


def test_looks_are_at_most_one_a_second() -> None:
    memory = ProcessMemory()
    first = memory.read()
    assert first is not None
    assert first["the training process"] > 10 * MIB
    assert memory.read() is None
