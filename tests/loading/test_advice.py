"""Advice names what bound a run, never promises more than the model allows, and can be typed."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.config.store import compose
from chirpid.loading.advice import WORTH, Achieved, Advice, advise, costs_of
from chirpid.loading.tune.choose import Limits, candidates
from chirpid.loading.tune.model import Setting, Work
from chirpid.types import Backend, Mode

WORK = Work(
    num_samples=1000, train_samples=900, eval_samples=100, batch_size=50, epochs=20, folds=5,
    num_cores=2, store_bytes=40_000_000, batch_bytes=4_000_000,
)  # fmt: skip
INLINE = Setting(Mode.lazy, Backend.inline)


def achieved(*, step_ms: float, decode_ms: float, cpu_cores: float = 1.5) -> Achieved:
    """Return what an inline run comes to whose rows take `decode_ms`, batches of 50."""
    load_ms = WORK.batch_size * decode_ms
    batch_s = (step_ms + load_ms) / 1e3
    return Achieved(batch_s, load_ms / 1e3 / batch_s, {"decode": decode_ms / 1e3}, cpu_cores)


def told(one: Achieved, setting: Setting = INLINE, limits: Limits | None = None) -> Advice:
    costs = costs_of(one, setting, WORK, None)
    return advise(costs, setting, one, WORK, limits or Limits(max_workers=2))


def test_a_run_that_decodes_again_and_again_is_told_to_keep_its_rows() -> None:
    advice = told(achieved(step_ms=100, decode_ms=2.0))
    assert advice.bound == "loader"
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


def test_where_nothing_is_better_that_is_said() -> None:
    only_this = Limits(modes=(Mode.lazy,), backends=(Backend.inline,))
    advice = told(achieved(step_ms=100, decode_ms=2.0), limits=only_this)
    assert (advice.bound, advice.overrides) == ("loader", ())
    assert "No other loader setting" in advice.sentence


def test_a_run_seen_once_is_not_told_to_build_what_it_would_not_use() -> None:
    once = Work(num_samples=1000, train_samples=1000, batch_size=50, num_cores=1,
                store_bytes=40_000_000, batch_bytes=4_000_000)  # fmt: skip
    one = achieved(step_ms=100, decode_ms=2.0)
    advice = advise(costs_of(one, INLINE, once, None), INLINE, one, once, Limits(max_workers=1))
    assert advice.overrides == ()


def test_time_off_the_core_is_time_at_the_disk() -> None:
    one = achieved(step_ms=100, decode_ms=2.0)
    costs = costs_of(one, INLINE, WORK, load_core_s=0.0005)
    assert costs.row_core_s == pytest.approx(0.0005)
    assert costs.read_s == costs.reread_s == pytest.approx(0.0015)


@functools.cache
def typed(overrides: tuple[str, ...]) -> tuple[Mode, Backend]:
    """Return the mode and the backend that somebody gets who follows advice."""
    config = compose(["mode=lazy", "loader.backend=inline", *overrides]).config
    return config.mode.name, config.loader.backend


@settings(deadline=None)
@given(
    step_ms=st.floats(1, 1000), decode_ms=st.floats(0.001, 50), cores=st.floats(0, 2),
    disk=st.integers(0, 2**32), ram=st.integers(2**23, 2**32), core_share=st.floats(0, 1),
)  # fmt: skip
def test_advice_is_possible_can_be_typed_and_promises_no_more_than_the_model_allows(
    step_ms: float, decode_ms: float, cores: float, disk: int, ram: int, core_share: float
) -> None:
    one = achieved(step_ms=step_ms, decode_ms=decode_ms, cpu_cores=cores)
    limits = Limits(max_workers=2, ram_bytes=ram, disk_bytes=disk)
    costs = costs_of(one, INLINE, WORK, one.load_s * core_share)
    advice = advise(costs, INLINE, one, WORK, limits)
    alone = one.batch_s / (step_ms / 1e3)
    assert 1 <= advice.predicted_gain <= alone * (1 + 1e-9)
    assert (advice.predicted_gain == 1) == (not advice.overrides)
    if advice.overrides:
        possible = {(each.mode, each.backend) for each in candidates(WORK, limits)}
        assert typed(advice.overrides) in possible
        assert all(word in advice.sentence for word in advice.overrides)
