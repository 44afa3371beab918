"""Advice names what bound a run, never promises more than the model allows, and can be typed."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.config.store import compose
from chirpid.loading.achieved import Achieved, bound_share, costs_of
from chirpid.loading.advice import WORTH, Advice, advise
from chirpid.loading.tune.choose import Limits, candidates
from chirpid.loading.tune.model import Setting, Work
from chirpid.loading.ways import Ways
from chirpid.types import Backend, Mode

WORK = Work(
    num_samples=1000, train_samples=900, eval_samples=100, batch_size=50, epochs=20, folds=5,
    num_cores=2, store_bytes=40_000_000, batch_bytes=4_000_000,
)  # fmt: skip
INLINE = Setting(Mode.lazy, Backend.inline)
TWO = Setting(Mode.lazy, Backend.threads, 2, 2)
ONE_GIB = 2**30


def achieved(
    *, step_ms: float, decode_ms: float, cpu_cores: float = 1.5, core_ms: float | None = None,
    disk_bytes: float = 0.0,
) -> Achieved:  # fmt: skip
    """Return what an inline run comes to whose rows take `decode_ms`, batches of 50."""
    load_ms = WORK.batch_size * decode_ms
    batch_s = (step_ms + load_ms) / 1e3
    cores = None if core_ms is None else WORK.batch_size * core_ms / 1e3 / batch_s
    return Achieved(
        batch_s, load_ms / 1e3 / batch_s, {"decode": decode_ms / 1e3}, cpu_cores, cores, disk_bytes
    )


def told(one: Achieved, setting: Setting = INLINE, limits: Limits | Ways | None = None) -> Advice:
    costs = costs_of(one, setting, WORK)
    return advise(costs, setting, one, WORK, limits or Limits(max_workers=2))


def test_a_run_that_decodes_again_and_again_is_told_to_keep_its_rows() -> None:
    advice = told(achieved(step_ms=100, decode_ms=2.0))
    assert advice.bound == "decode"
    assert advice.overrides == ("mode=cached",)
    assert 1.8 < advice.predicted_gain < 2.0  # 200 ms a batch, of which 100 are the model's
    assert "waited 50 %" in advice.sentence
    assert "decoding (2.00 ms a sample)" in advice.sentence
    assert "mode=cached" in advice.sentence


def test_a_run_that_the_model_bound_is_told_so_and_nothing_else() -> None:
    advice = told(achieved(step_ms=100, decode_ms=0.01))
    assert (advice.bound, advice.overrides, advice.predicted_gain) == ("model", (), 1.0)
    assert "0.5 %" in advice.sentence


def test_where_nothing_may_be_kept_more_hands_are_asked_for() -> None:
    nothing_kept = Limits(max_workers=2, ram_bytes=30_000_000, disk_bytes=0)
    # A step that leaves a core free, as with a model on a GPU.
    advice = told(achieved(step_ms=100, decode_ms=2.0, cpu_cores=1.0), limits=nothing_kept)
    assert "loader.backend=threads" in advice.overrides
    assert not any(one.startswith("mode=") for one in advice.overrides)
    assert advice.predicted_gain > WORTH


@pytest.mark.parametrize(
    ("ram_gib", "disk_gib", "words"),
    [(0.03, 4, ("mode=cached", "mode.cache_gib=0.040")), (1, 0, ("mode=eager", "budget_gib=0.0"))],
)
def test_a_budget_in_the_way_is_named_with_what_it_should_be(
    ram_gib: float, disk_gib: float, words: tuple[str, ...]
) -> None:
    tight = Limits(max_workers=2, ram_bytes=20_000_000, disk_bytes=0)
    room = replace(
        tight, ram_bytes=int(ram_gib * ONE_GIB), disk_bytes=int(disk_gib * ONE_GIB)
    )  # fmt: skip
    one = achieved(step_ms=100, decode_ms=2.0, cpu_cores=2.0)
    within = told(one, limits=tight)
    advice = told(one, limits=Ways(limits=tight, room=room))
    assert advice.predicted_gain > WORTH * within.predicted_gain
    assert all(any(word in each for each in advice.overrides) for word in words)
    raised = next(each for each in advice.overrides if "_gib=" in each)
    assert float(raised.partition("=")[2]) * ONE_GIB >= WORK.store_bytes


def test_a_budget_that_is_not_in_the_way_stays() -> None:
    limits = Limits(max_workers=2)
    advice = told(achieved(step_ms=100, decode_ms=2.0), limits=Ways(limits=limits, room=limits))
    assert advice.overrides == ("mode=cached",)


def test_where_nothing_is_better_that_is_said() -> None:
    only_this = Limits(modes=(Mode.lazy,), backends=(Backend.inline,))
    advice = told(achieved(step_ms=100, decode_ms=2.0), limits=only_this)
    assert (advice.bound, advice.overrides) == ("decode", ())
    assert "No other loader setting" in advice.sentence


def test_a_run_seen_once_is_not_told_to_build_what_it_would_not_use() -> None:
    once = Work(num_samples=1000, train_samples=1000, batch_size=50, num_cores=1,
                store_bytes=40_000_000, batch_bytes=4_000_000)  # fmt: skip
    one = achieved(step_ms=100, decode_ms=2.0)
    advice = advise(costs_of(one, INLINE, once), INLINE, one, once, Limits(max_workers=1))
    assert advice.overrides == ()


def test_time_off_the_core_is_time_at_the_disk_if_the_disk_brought_anything() -> None:
    one = achieved(step_ms=100, decode_ms=2.0, core_ms=0.5, disk_bytes=1e5)
    costs = costs_of(one, INLINE, WORK)
    assert costs.row_core_s == pytest.approx(0.0005)
    assert costs.read_s == costs.reread_s == pytest.approx(0.0015)
    assert told(one).bound == "disk"
    assert "waiting for the disk (1.50 ms a sample)" in told(one).sentence
    shared = achieved(step_ms=100, decode_ms=2.0, core_ms=0.5)
    costs = costs_of(shared, INLINE, WORK)
    assert (costs.row_core_s, costs.read_s) == (pytest.approx(0.0005), 0.0)
    assert told(shared).bound == "decode"


def test_a_step_that_shared_its_cores_is_taken_for_what_it_worked() -> None:
    # 250 ms a batch on two cores, of which fetching took 100 core-milliseconds and the step 300.
    one = Achieved(0.25, 0.02, {"decode": 0.006}, cpu_cores=1.6, fetch_cores=0.4)
    costs = costs_of(one, TWO, WORK, model_threads=2)
    assert costs.row_core_s == pytest.approx(0.002)
    assert costs.step_s == pytest.approx(max(0.245 - 0.8 * 0.1, 0.3 / 2))
    ways = Ways(limits=Limits(max_workers=2), model_threads=2)
    advice = advise(costs, TWO, one, WORK, ways)
    assert (advice.bound, advice.overrides[0]) == ("cores", "mode=cached")
    assert 1.3 < advice.predicted_gain <= 250 / 165
    # Its own core-seconds, on all its threads, it takes in any case.
    spinning = Achieved(0.25, 0.02, {"decode": 0.006}, cpu_cores=2.0, fetch_cores=0.4)
    assert costs_of(spinning, TWO, WORK, model_threads=2).step_s == pytest.approx(0.2)
    # Others had the cores: the step would not be shorter by more than what fetching took of them.
    crowded = Achieved(0.25, 0.02, {"decode": 0.006}, cpu_cores=0.8, fetch_cores=0.4)
    assert costs_of(crowded, TWO, WORK, model_threads=2).step_s == pytest.approx(0.245 - 0.08)
    # Nobody was held up for longer than threads waited for cores, and not if none did.
    for queued, step_s in ((0.2, 0.245 - 0.2 * 0.25), (0.05, 0.245), (3.0, 0.245 - 0.08)):
        known = replace(one, queued_threads=queued)
        assert costs_of(known, TWO, WORK, model_threads=2).step_s == pytest.approx(step_s)
    advice = advise(costs, TWO, replace(one, queued_threads=0.05), WORK, ways)
    assert (advice.bound, advice.overrides) == ("model", ())
    # A core is left for fetching, or a GPU computes the step: it is as long as it was.
    assert costs_of(one, TWO, WORK, model_threads=1).step_s == pytest.approx(0.245)
    assert costs_of(one, TWO, WORK).step_s == pytest.approx(0.245)


def test_workers_that_were_idle_while_the_model_waited_are_given_a_deeper_ring() -> None:
    setting = Setting(Mode.lazy, Backend.threads, 2, 1)
    only = Limits(modes=(Mode.lazy,), backends=(Backend.threads,), num_workers=2, max_workers=2)
    one = Achieved(0.13, 0.25, {"decode": 0.0035}, 1.5, 1.2, busy_share=0.67)
    advice = told(one, setting, only)
    assert advice.overrides == ("loader.prefetch=4",)
    assert advice.predicted_gain > WORTH


def test_what_is_not_fixed_is_named_when_the_mode_changes() -> None:
    one = Achieved(0.25, 0.02, {"decode": 0.006}, cpu_cores=2.0, fetch_cores=0.8)
    costs = costs_of(one, TWO, WORK, model_threads=2)
    keeps_threads = Limits(max_workers=2, backends=(Backend.threads,), num_workers=2, prefetch=2)
    ways = Ways(limits=keeps_threads, fixed=(), model_threads=2)
    free = advise(costs, TWO, one, WORK, ways)
    assert free.overrides == (
        "mode=cached", "loader.backend=threads", "loader.num_workers=2", "loader.prefetch=2",
    )  # fmt: skip
    itself = advise(costs, TWO, one, WORK, replace(ways, picks_itself=True))
    assert itself.overrides == ("mode=cached",)


def test_the_bound_is_the_longer_of_the_step_and_all_work_on_all_cores() -> None:
    one = achieved(step_ms=100, decode_ms=2.0, cpu_cores=1.0, core_ms=2.0)
    assert bound_share(costs_of(one, INLINE, WORK), one, WORK) == pytest.approx(0.5)
    busy = achieved(step_ms=100, decode_ms=2.0, cpu_cores=1.5, core_ms=2.0)
    assert bound_share(costs_of(busy, INLINE, WORK), busy, WORK) == pytest.approx(0.75)


@functools.cache
def typed(overrides: tuple[str, ...]) -> tuple[Mode, Backend]:
    """Return the mode and the backend that somebody gets who follows advice."""
    config = compose(["mode=lazy", "loader.backend=inline", *overrides]).config
    return config.mode.name, config.loader.backend


@settings(deadline=None)
@given(
    step_ms=st.floats(1, 1000), decode_ms=st.floats(0.001, 50), cores=st.floats(0, 2),
    disk=st.integers(0, 2**32), ram=st.integers(2**23, 2**32), core_share=st.floats(0, 1),
    reads=st.booleans(),
)  # fmt: skip
def test_advice_is_possible_can_be_typed_and_promises_no_more_than_the_model_allows(
    step_ms: float, decode_ms: float, cores: float, disk: int, ram: int, core_share: float,
    reads: bool,
) -> None:  # fmt: skip
    one = achieved(step_ms=step_ms, decode_ms=decode_ms, cpu_cores=cores,
                   core_ms=decode_ms * core_share, disk_bytes=1e6 * reads)  # fmt: skip
    limits = Limits(max_workers=2, ram_bytes=ram, disk_bytes=disk)
    advice = advise(costs_of(one, INLINE, WORK), INLINE, one, WORK, limits)
    alone = one.batch_s / (step_ms / 1e3)
    assert 1 <= advice.predicted_gain <= alone * (1 + 1e-9)
    assert (advice.predicted_gain == 1) == (not advice.overrides)
    if advice.overrides:
        possible = {(each.mode, each.backend) for each in candidates(WORK, limits)}
        assert typed(advice.overrides) in possible
        assert all(word in advice.sentence for word in advice.overrides)


def test_what_the_run_had_and_left_is_not_advised_again() -> None:
    one, limits = achieved(step_ms=100, decode_ms=2.0), Limits(max_workers=2)
    costs, left = costs_of(one, INLINE, WORK), set[Setting]()
    for _ in range(4):
        advice = advise(costs, INLINE, one, WORK, Ways(limits=limits, left=left))
        settings_of = {f"mode={each.mode.value}": each for each in candidates(WORK, limits)
                       if each.backend is Backend.inline}  # fmt: skip
        if advice.overrides[0] not in settings_of or settings_of[advice.overrides[0]] in left:
            break
        left.add(settings_of[advice.overrides[0]])
    assert {each.mode for each in left} == {Mode.cached, Mode.eager}
    assert any(each.startswith("loader.backend=") for each in advice.overrides)


def test_on_a_machine_that_others_use_no_figure_is_promised() -> None:
    # A quarter of the core time that the run was ready to use.
    one = replace(achieved(step_ms=100, decode_ms=2.0, cpu_cores=1.5), others_cores=0.5)
    slow = replace(WORK, store_bytes=4_000_000_000)
    costs = replace(costs_of(one, INLINE, slow), write_s=0.01)
    advice = advise(costs, INLINE, one, slow, Limits(modes=(Mode.lazy, Mode.cached)))
    assert advice.overrides
    assert advice.others_share == pytest.approx(0.25)
    assert "times as fast" not in advice.sentence
    assert "other programs had 25% of the core time" in advice.sentence
    assert f"after at least {advice.build_s:.0f} s of building" in advice.sentence
    alone = advise(costs, INLINE, replace(one, others_cores=0.1), slow, Limits())
    assert "times as fast" in alone.sentence
    assert "at least" not in alone.sentence
