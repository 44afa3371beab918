"""Only what fits is chosen from, and only what is worth its trouble is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.loading.plan import in_flight
from chirpid.loading.tune import Limits, Measured, candidates, choose
from chirpid.loading.tune.choose import HYSTERESIS, rank, refused_modes, trial_key, worth_trying
from chirpid.types import Backend, Mode
from tests.loading.tune.costs import COSTS, INLINE, WORK, costs, threads, work

MIB = 2**20
ALL = Limits(max_workers=2)


def modes_of(limits: Limits) -> set[Mode]:
    return {s.mode for s in candidates(WORK, limits)}


def test_budgets_leave_out_the_modes_that_are_over_them() -> None:
    assert modes_of(ALL) == {Mode.cached, Mode.eager, Mode.lazy}
    assert modes_of(Limits(ram_bytes=400 * MIB)) == {Mode.cached, Mode.lazy}
    assert modes_of(Limits(disk_bytes=399 * MIB)) == {Mode.eager, Mode.lazy}
    assert modes_of(Limits(ram_bytes=40 * MIB, disk_bytes=40 * MIB)) == {Mode.lazy}
    assert modes_of(Limits(ram_bytes=MIB)) == set()


def test_a_cache_that_is_there_needs_no_room() -> None:
    there = work(cached_already=True)
    assert Mode.cached in {s.mode for s in candidates(there, Limits(disk_bytes=0))}


def test_what_is_left_out_is_told_with_its_reason() -> None:
    eager, cached = refused_modes(WORK, Limits(modes=(Mode.eager, Mode.cached, Mode.lazy),
                                               ram_bytes=40 * MIB, disk_bytes=MIB))  # fmt: skip
    assert eager == "mode=eager needs 404.0 MiB of RAM, 40.0 MiB are allowed"
    assert cached == "mode=cached needs 400.0 MiB of disk, 1.0 MiB are allowed or free"


@given(st.integers(1, 64), st.integers(4 * MIB, 2**32), st.integers(0, 2**32))
def test_no_candidate_is_over_a_budget(most: int, ram_bytes: int, disk_bytes: int) -> None:
    limits = Limits(max_workers=most, ram_bytes=ram_bytes, disk_bytes=disk_bytes)
    for s in candidates(WORK, limits):
        held = WORK.store_bytes if s.mode is Mode.eager else 0
        assert held + in_flight(s.num_workers, s.prefetch) * WORK.batch_bytes <= ram_bytes
        assert s.mode is not Mode.cached or WORK.store_bytes <= disk_bytes
        assert s.num_workers <= most


def test_what_the_user_set_is_left_as_it_is() -> None:
    limits = Limits(modes=(Mode.lazy,), backends=(Backend.threads,), num_workers=3, prefetch=5)
    assert candidates(WORK, limits) == [threads(Mode.lazy, 3, 5)]
    none = Limits(backends=(Backend.inline,), num_workers=0)
    assert {s.backend for s in candidates(WORK, none)} == {Backend.inline}


def test_the_device_is_for_sets_that_fit_beside_the_model() -> None:
    on_gpu = {"backends": (Backend.inline, Backend.device), "max_workers": 8}
    fits, not_ = Limits(**on_gpu, device_bytes=400 * MIB), Limits(**on_gpu, device_bytes=399 * MIB)
    found = [s for s in candidates(WORK, fits) if s.backend is Backend.device]
    assert [s.mode for s in found] == [Mode.eager]
    assert all(s.backend is Backend.inline for s in candidates(WORK, not_))
    gpu = costs(step_core_s=0.004, transfer_s=0.004, gather_s=1e-4)
    assert choose(rank(gpu, candidates(WORK, fits), WORK), WORK).setting.backend is Backend.device


def test_the_simplest_of_equals_is_taken() -> None:
    """A gather of 10 microseconds a sample: handing it over gains less than it is worth."""
    picked = choose(rank(COSTS, candidates(WORK, ALL), WORK), WORK)
    assert picked.setting == INLINE[Mode.cached]
    best = rank(COSTS, candidates(WORK, ALL), WORK)[0].prediction.total_s
    assert picked.prediction.total_s <= best * (1 + HYSTERESIS)


def test_where_ram_is_short_rows_of_ones_own_are_simpler_than_a_map() -> None:
    short = work(recordings_stay=False)
    picked = choose(rank(COSTS, candidates(short, ALL), short), short)
    assert picked.setting == INLINE[Mode.eager]
    over = Limits(max_workers=2, ram_bytes=100 * MIB)
    assert choose(rank(COSTS, candidates(short, over), short), short).setting.mode is Mode.cached


def test_many_cores_beside_a_gpu_get_as_many_decoders_as_it_takes() -> None:
    gpu = costs(step_core_s=0.004)
    w = work(num_cores=16)
    limits = Limits(modes=(Mode.lazy,), max_workers=16)
    pick = choose(rank(gpu, candidates(w, limits), w), w)
    # 32 x 1.8 ms of decoding: two workers keep up with a step of 40 ms, five with a validation.
    assert pick.setting.backend is Backend.threads
    assert 2 <= pick.setting.num_workers <= 5


def test_processes_are_for_what_threads_cannot_do_at_once() -> None:
    gpu = costs(step_core_s=0.004, serial_share=0.9)
    w = work(num_cores=16)
    limits = Limits(modes=(Mode.lazy,), max_workers=16)
    assert choose(rank(gpu, candidates(w, limits), w), w).setting.backend is Backend.processes


def test_a_trial_overrules_the_model() -> None:
    settings = candidates(WORK, Limits(modes=(Mode.lazy,), max_workers=2))
    by_model = choose(rank(COSTS, settings, WORK), WORK).setting
    assert by_model.num_workers
    trials = {
        trial_key(by_model): Measured(0.2, 0.0, 9),
        trial_key(INLINE[Mode.lazy]): Measured(0.1, 0.6, 9),
    }
    assert choose(rank(COSTS, settings, WORK, trials), WORK).setting == INLINE[Mode.lazy]


def test_a_trial_teaches_of_settings_like_it() -> None:
    """One worker took twice as long as the model says: two are not believed to be exact either."""
    one, two = threads(Mode.lazy, 1), threads(Mode.lazy, 2)
    by_model = {c.setting: c.prediction for c in rank(COSTS, [one, two], WORK)}
    slow = {trial_key(one): Measured(2 * by_model[one].epoch_s / 250, 0.0, 9)}
    taught = {c.setting: c.prediction for c in rank(COSTS, [one, two], WORK, slow)}
    assert taught[two].epoch_s == pytest.approx(2 * by_model[two].epoch_s, rel=0.03)


def test_what_is_tried_trains_differently_and_is_near_the_best() -> None:
    ranked = rank(COSTS, candidates(WORK, ALL), WORK)
    tried = worth_trying(ranked, WORK, 3)
    assert len({trial_key(s) for s in tried}) == len(tried) == 3
    assert Backend.inline in {s.backend for s in tried}
    assert all(s.keeps for s in tried)  # lazy takes several times as long
    assert worth_trying([], WORK, 3) == []
    assert worth_trying(ranked[:1], WORK, 3) == [ranked[0].setting]
