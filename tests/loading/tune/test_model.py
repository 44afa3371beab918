"""What the model says must follow from what work costs, whatever the numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.loading.tune import Costs, Measured, Setting, Work, predict
from chirpid.loading.tune.model import CROWDING, row_seconds
from chirpid.types import Backend, Mode
from tests.loading.tune.costs import COSTS, INLINE, WORK, costs, threads, work

SECONDS = st.floats(1e-6, 0.5)
SETTINGS = st.builds(
    threads,
    st.sampled_from([Mode.lazy, Mode.eager, Mode.cached]),
    st.integers(1, 32),
    st.integers(1, 8),
) | st.sampled_from(list(INLINE.values()))


@st.composite
def any_costs(draw: st.DrawFn) -> Costs:
    step_s = draw(SECONDS)
    return costs(
        stage_s={"decode": draw(SECONDS), "frontend": draw(SECONDS)},
        gather_s=draw(SECONDS) / 100,
        step_s=step_s,
        step_core_s=step_s * draw(st.floats(0.01, 8)),
        eval_s=step_s / 3,
        read_s=draw(st.just(0.0) | SECONDS),
        spread=draw(st.floats(0, 2)),
        serial_share=draw(st.floats(0, 1)),
    )


@given(any_costs(), SETTINGS, st.integers(1, 64))
def test_no_epoch_is_shorter_than_the_model_nor_than_all_work_over_all_cores(
    c: Costs, setting: Setting, num_cores: int
) -> None:
    w = work(num_cores=num_cores)
    batches = math.ceil(w.train_samples / w.batch_size)
    epoch_s = predict(c, setting, w).epoch_s
    row_s = c.gather_s if setting.keeps else c.row_core_s
    loading_s = batches * w.batch_size * row_s
    assert epoch_s >= batches * c.step_s * (1 - 1e-9)
    # The step itself may take more cores than there are only if it was measured elsewhere.
    step_core_s = min(c.step_core_s, c.step_s * num_cores)
    assert epoch_s >= (batches * step_core_s + loading_s) / num_cores * (1 - 1e-9)


@given(any_costs(), SETTINGS, st.integers(1, 64), st.integers(1, 50), st.booleans())
def test_a_prediction_is_finite_and_adds_up(
    c: Costs, setting: Setting, num_cores: int, epochs: int, whole: bool
) -> None:
    w = work(num_cores=num_cores, epochs=epochs, cached_already=whole)
    p = predict(c, setting, w)
    assert 0 <= p.wait_share <= 1
    assert p.samples_per_s * p.epoch_s == pytest.approx(w.train_samples)
    assert math.isfinite(p.total_s)
    assert p.total_s >= p.build_s + w.folds * epochs * p.epoch_s


@given(any_costs(), SETTINGS, st.floats(1, 10))
def test_what_costs_more_takes_no_less(c: Costs, setting: Setting, factor: float) -> None:
    dearer = costs(
        stage_s={name: s * factor for name, s in c.stage_s.items()},
        gather_s=c.gather_s * factor,
        step_s=c.step_s,
        step_core_s=c.step_core_s,
        eval_s=c.eval_s,
        serial_share=c.serial_share,
    )
    same = costs(
        stage_s=c.stage_s, gather_s=c.gather_s, step_s=c.step_s, step_core_s=c.step_core_s,
        eval_s=c.eval_s, serial_share=c.serial_share,
    )  # fmt: skip
    assert predict(dearer, setting, WORK).total_s >= predict(same, setting, WORK).total_s * 0.999


def test_inline_adds_the_fetch_to_the_step() -> None:
    p = predict(COSTS, INLINE[Mode.lazy], WORK)
    batch_s = 0.04 + 32 * 1.8e-3
    assert p.epoch_s == pytest.approx(250 * batch_s)
    assert p.wait_share == pytest.approx(32 * 1.8e-3 / batch_s)
    assert p.bound == "decode"


def test_workers_hide_the_fetch_where_cores_are_free() -> None:
    """Sixteen cores and a step on the GPU: four decoders keep up with it, one does not."""
    on_gpu = costs(step_core_s=0.005)
    w = work(num_cores=16)
    four, one = predict(on_gpu, threads(Mode.lazy, 4), w), predict(on_gpu, threads(Mode.lazy, 1), w)
    assert four.bound == "model"
    assert four.epoch_s == pytest.approx(250 * 0.04, rel=0.03)
    assert one.bound == "decode"
    assert one.epoch_s == pytest.approx(250 * 32 * 1.8e-3, rel=0.03)


def test_a_step_that_shares_its_cores_is_crowded() -> None:
    p = predict(COSTS, threads(Mode.lazy), WORK)
    cores_s = (0.08 + 32 * 1.8e-3) / 2
    assert p.bound == "cores"
    assert p.epoch_s == pytest.approx(250 * cores_s * CROWDING, rel=0.02)


def test_a_trial_goes_before_the_model() -> None:
    p = predict(COSTS, threads(Mode.lazy), WORK, Measured(0.1, 0.2, 9))
    assert p.tried
    assert p.samples_per_s == pytest.approx(320, rel=0.02)
    assert p.wait_share == pytest.approx(0.2, abs=0.01)


def test_a_cache_that_is_there_costs_no_building() -> None:
    made, there = WORK, work(cached_already=True)
    assert predict(COSTS, INLINE[Mode.cached], made).build_s == pytest.approx(9.25, rel=0.01)
    assert predict(COSTS, INLINE[Mode.cached], there).build_s == 0
    eager = predict(COSTS, INLINE[Mode.eager], there).build_s
    assert 0 < eager < predict(COSTS, INLINE[Mode.eager], made).build_s
    assert predict(COSTS, INLINE[Mode.lazy], made).build_s == 0


def faster(c: Costs, w: Work) -> Mode:
    settings = [INLINE[Mode.cached], threads(Mode.lazy)]
    return min(settings, key=lambda s: predict(c, s, w).total_s).mode


def test_rows_are_kept_if_they_are_wanted_often_enough() -> None:
    """A store makes every row once; ten batches of a large set want few of them."""
    assert faster(COSTS, WORK) is Mode.cached
    once = work(folds=1, epochs=1, train_samples=320, eval_samples=100, stats_samples=0)
    assert faster(COSTS, once) is Mode.lazy


def test_a_disk_that_is_slow_for_all_binds_lazy_in_every_epoch_but_not_a_store() -> None:
    slow = costs(read_s=5e-3, disk_s=5e-3)
    w = work(recordings_stay=False, num_cores=8)
    lazy = predict(slow, threads(Mode.lazy, 8), w)
    assert lazy.bound == "disk"
    assert lazy.samples_per_s <= 200  # 1 / disk_s
    kept = predict(slow, INLINE[Mode.cached], w)
    assert kept.bound == "model"
    assert kept.build_s == pytest.approx(10_000 * 5e-3, rel=0.01)


def test_recordings_that_stay_in_ram_are_waited_for_once() -> None:
    slow = costs(read_s=5e-3, disk_s=5e-3)
    stays, goes = (
        predict(slow, threads(Mode.lazy), work(recordings_stay=stay)) for stay in (True, False)
    )
    warm = predict(COSTS, threads(Mode.lazy), WORK)
    assert stays.epoch_s == warm.epoch_s < goes.epoch_s
    assert stays.total_s > warm.total_s


@pytest.mark.parametrize(
    ("serial_share", "speedup"), [(0.0, 8), (0.1, 1 / (0.1 + 0.9 / 8)), (1.0, 1)]
)
def test_threads_wait_for_pythons_lock_and_processes_do_not(
    serial_share: float, speedup: float
) -> None:
    c = costs(serial_share=serial_share)
    assert row_seconds(c, 8, 0.0) == pytest.approx(1.8e-3 / speedup)
    assert row_seconds(c, 8, 0.0, lock=False) == pytest.approx(1.8e-3 / 8)


def test_more_readers_than_cores_help_only_those_that_wait() -> None:
    waiting = costs(read_s=20e-3)
    assert row_seconds(waiting, 8, 20e-3, num_cores=2) == pytest.approx(21.8e-3 / 8)
    assert row_seconds(COSTS, 8, 0.0, num_cores=2) == pytest.approx(0.9e-3)


def test_a_small_step_makes_the_copy_what_binds() -> None:
    quick = costs(step_s=1e-4, step_core_s=1e-4, eval_s=1e-4)
    assert predict(quick, INLINE[Mode.eager], WORK).bound == "copy"
    w = work(store_stays=False)
    cold = costs(step_s=1e-4, step_core_s=1e-4, store_read_s=1e-3)
    assert predict(cold, INLINE[Mode.cached], w).bound == "disk"
    assert predict(cold, Setting(Mode.eager, Backend.device), w).bound == "model"


def test_a_thread_that_waits_for_a_gpu_fetches_meanwhile() -> None:
    """A step of 40 ms that takes 5 ms to tell the GPU of, and a fetch of 10 ms."""
    gpu = costs(step_core_s=0.005, free_s=0.035, gather_s=10e-3 / 32)
    assert predict(gpu, INLINE[Mode.cached], WORK).epoch_s == pytest.approx(250 * 0.04)
    on_cpu = costs(gather_s=10e-3 / 32)
    assert predict(on_cpu, INLINE[Mode.cached], WORK).epoch_s == pytest.approx(250 * 0.05)
