"""The stages of a sample add up to the time they take, and the slowest is the longest bar."""

from __future__ import annotations

import time

import numpy as np
import pytest
from torch import Tensor

from chirpid.data.datasets import SegmentDataset
from chirpid.data.kept import RowSpec, Stages
from chirpid.loading.achieved import Achieved, costs_of
from chirpid.loading.advice import advise
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.loading.tune.choose import Limits
from chirpid.loading.tune.costs import Costs
from chirpid.loading.tune.model import Setting, Work
from chirpid.loading.waterfall import Watched, bars, lines, watch, with_batch
from chirpid.types import Backend, Batch, IntArray, Keep, Mode, StoreDtype

BATCH = 4
BATCHES = [np.arange(k * BATCH, (k + 1) * BATCH, dtype=np.int64) for k in range(12)]
INLINE = Setting(Mode.lazy, Backend.inline)
COSTS = Costs(batch_size=BATCH, step_s=0.004, step_core_s=0.004, transfer_s=0.001, augment_s=0.001,
              hand_over_s={"threads": 1e-4})  # fmt: skip


class Slow(SegmentDataset):
    """Rows whose stages last as long as they are told to."""

    mode = Mode.lazy

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.spec = RowSpec(Keep.spectrogram, StoreDtype.float32, (1,))
        self.num_segments = BATCH * len(BATCHES)

    def fetch(self, ids: IntArray, out: Tensor | None = None) -> tuple[Tensor, Stages]:
        assert out is not None
        stages: Stages = {}
        for name, seconds in self.seconds.items():
            begin = time.thread_time(), time.perf_counter()
            while time.thread_time() - begin[0] < seconds * len(ids):
                pass
            stages[name] = time.perf_counter() - begin[1]
        return out[: len(ids)], stages


def watched(**seconds: float) -> Watched:
    found = watch(InlineBackend(Slow(**seconds)).run, BATCHES, seconds=60, warm=2)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("slow", "called"), [("decode", "decode"), ("frontend", "front end"), ("resample", "resample")]
)
def test_a_slowed_stage_is_the_longest_bar_and_the_bound(slow: str, called: str) -> None:
    seconds = {"decode": 2e-4, "resample": 1e-4, "frontend": 2e-4, slow: 2e-3}
    found = watched(**seconds)
    shown = bars(found, COSTS, INLINE, batch_size=BATCH, on_gpu=False)
    assert max(shown, key=lambda bar: bar.ms).name == called
    fetching = [bar for bar in shown if bar.fetches]
    # Bars of under half a percent are left out.
    assert sum(bar.ms for bar in fetching) == pytest.approx(1e3 * found.fetch_s, rel=0.03)
    assert {bar.when for bar in fetching} == {"before the step"}
    work = Work(num_samples=48, train_samples=48, batch_size=BATCH, epochs=9, num_cores=2,
                store_bytes=192, batch_bytes=16)  # fmt: skip
    achieved = with_batch(found, BATCH)
    advice = advise(costs_of(achieved, INLINE, work), INLINE, achieved, work, Limits(max_workers=2))
    assert advice.bound == called


def test_steps_are_in_the_time_and_batches_of_the_warm_up_are_not() -> None:
    steps: list[int] = []

    def step(batch: Batch) -> None:
        steps.append(len(batch))

    found = watch(InlineBackend(Slow(decode=1e-4)).run, BATCHES, seconds=60, warm=2, step=step)
    assert found is not None
    assert (found.num_batches, len(steps)) == (10, 12)
    short = watch(InlineBackend(Slow(decode=1e-4)).run, BATCHES, seconds=0, warm=2)
    assert short is not None
    assert short.num_batches == 2
    assert watch(InlineBackend(Slow(decode=1e-4)).run, BATCHES[:2], seconds=60, warm=2) is None


def test_workers_fetch_beside_the_step_and_hand_over() -> None:
    backend = ThreadsBackend(Slow(decode=1e-3), num_workers=2, prefetch=1)
    try:
        found = watch(backend.run, BATCHES, seconds=60, warm=4)
    finally:
        backend.close()
    assert found is not None
    setting = Setting(Mode.lazy, Backend.threads, 2, 1)
    shown = {bar.name: bar for bar in bars(found, COSTS, setting, batch_size=BATCH, on_gpu=True)}
    assert (shown["decode"].who, shown["decode"].when) == ("2 threads", "beside the step")
    assert shown["hand-over"].ms == pytest.approx(1e3 * 1e-4 / BATCH)
    assert (shown["model"].who, shown["model"].ms) == ("GPU", pytest.approx(0.5))


def test_waiting_for_a_disk_is_a_bar_of_its_own_and_in_no_other() -> None:
    one = Achieved(0.02, 0.8, {"decode": 0.004}, 1.0, 0.2, disk_bytes=1e5)
    shown = bars(Watched(one, 200.0, 10, 0.0042), COSTS, INLINE, batch_size=BATCH, on_gpu=False)
    found = {bar.name: bar.ms for bar in shown if bar.fetches}
    assert found == pytest.approx({"disk": 3.0, "decode": 1.0, "other": 0.2})
    text = lines(shown)
    assert text[0].startswith("disk")
    assert text[0].count("█") == max(one.count("█") for one in text)
