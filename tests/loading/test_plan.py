"""The plan as a table: facts, wishes and sets in; decisions with reasons out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chirpid.errors import BudgetError
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.plan import LoaderPlan, Picks, Profile, Traits, Wish, in_flight, make_plan
from chirpid.types import Backend, Mode, Policy, StartMethod

MIB = 2**20
RYZEN = Machine(
    num_cores=32, ram_bytes=64 * GIB, free_bytes=48 * GIB, gpu="RTX", gpu_bytes=16 * GIB
)
TWO_CORES = Machine(num_cores=2, ram_bytes=8 * GIB, free_bytes=6 * GIB)
RTX5080 = Profile(
    name="rtx5080", num_cores=32, num_workers_heavy=8, prefetch_heavy=4, num_workers_light=12,
    prefetch_light=6,
)  # fmt: skip
HEAVY = Traits(mode=Mode.lazy, num_segments=5000, batch_bytes=8 * MIB, store_bytes=GIB, heavy=True)
LIGHT = replace(HEAVY, mode=Mode.cached, heavy=False)
THREADS = Wish(backend=Backend.threads)


def plan(
    machine: Machine = RYZEN,
    profile: Profile = RTX5080,
    wish: Wish = THREADS,
    traits: Traits = HEAVY,
    budget: int = 16 * GIB,
    picks: Picks | None = None,
) -> LoaderPlan:
    return make_plan(
        machine=machine,
        profile=profile,
        wish=wish,
        traits=traits,
        budget_bytes=budget,
        picks=picks,
    )


def sized(traits: Traits, num_segments: int) -> Traits:
    return replace(traits, num_segments=num_segments)


@pytest.mark.parametrize(
    ("traits", "workers", "prefetch"),
    [
        (HEAVY, 8, 4),
        (LIGHT, 12, 6),
        (sized(HEAVY, 999), 4, 4),
        (sized(LIGHT, 999), 4, 6),
        (sized(HEAVY, 1000), 8, 4),
        (sized(HEAVY, 10_000), 8, 4),
        (sized(HEAVY, 10_001), 10, 4),
        (sized(LIGHT, 10_001), 14, 6),
    ],
)
def test_the_rtx5080_gets_its_known_good_numbers(
    traits: Traits, workers: int, prefetch: int
) -> None:
    made = plan(traits=traits)
    assert (made.num_workers.value, made.prefetch.value) == (workers, prefetch)
    assert made.pin_memory.value
    assert made.persistent_workers.value


def test_the_shipped_profile_holds_those_numbers() -> None:
    shipped = yaml.safe_load((Path(__file__).parents[2] / "conf/hardware/rtx5080.yaml").read_text())
    for name in ("num_workers_heavy", "prefetch_heavy", "num_workers_light", "prefetch_light"):
        assert shipped[name] == getattr(RTX5080, name)
    assert shipped["num_cores"] == 32
    assert shipped["gpu_memory_gib"] == 16


def test_large_sets_get_no_more_than_sixteen_workers() -> None:
    profile = replace(RTX5080, num_workers_light=15)
    assert plan(profile=profile, traits=sized(LIGHT, 50_000)).num_workers.value == 16


def test_a_profile_never_breaks_a_small_machine_and_says_so() -> None:
    made = plan(machine=TWO_CORES, traits=sized(LIGHT, 50_000))
    assert made.num_workers.value == 2
    assert made.num_workers.source == "clamp"
    assert "num_workers 14 -> 2: this machine has 2 usable cores" in made.clamps
    assert not made.pin_memory.value
    assert made.pin_memory.reason == "there is no GPU to copy to"


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (4, 3), (8, 6), (16, 12), (64, 16)])
def test_auto_takes_three_quarters_of_the_cores(cores: int, workers: int) -> None:
    machine = replace(RYZEN, num_cores=cores)
    assert plan(machine=machine, profile=Profile()).num_workers.value == workers


def test_under_four_gib_free_there_are_two_workers_at_most() -> None:
    short = replace(RYZEN, free_bytes=4 * GIB - 1)
    assert plan(machine=short).num_workers.value == 2
    assert any("4.0 GiB free" in line for line in plan(machine=short).clamps)
    assert plan(machine=replace(RYZEN, free_bytes=4 * GIB)).num_workers.value == 8


def test_the_command_line_wins_and_the_machine_still_clamps() -> None:
    wish = Wish(num_workers=5, prefetch=3, pin_memory=False, persistent_workers=False)
    made = plan(wish=wish)
    assert (made.num_workers.value, made.num_workers.source) == (5, "override")
    assert (made.prefetch.value, made.prefetch.source) == (3, "override")
    assert (made.pin_memory.value, made.pin_memory.source) == (False, "override")
    assert made.pin_memory.reason == "loader.pin_memory=false"
    assert not made.persistent_workers.value
    clamped = plan(machine=TWO_CORES, wish=Wish(num_workers=64, pin_memory=True))
    assert clamped.num_workers.value == 2
    assert any(line.startswith("num_workers 64 -> 2") for line in clamped.clamps)
    assert any(line.startswith("pin_memory true -> false") for line in clamped.clamps)


def test_a_small_set_does_not_overrule_a_number_that_was_asked_for() -> None:
    assert plan(wish=Wish(num_workers=8), traits=sized(HEAVY, 10)).num_workers.value == 8


@pytest.mark.parametrize(
    ("mode", "policy", "backend"),
    [
        (Mode.lazy, Policy.safe, Backend.inline),
        (Mode.lazy, Policy.balanced, Backend.threads),
        (Mode.streaming, Policy.balanced, Backend.threads),
        (Mode.cached, Policy.balanced, Backend.inline),
        (Mode.eager, Policy.balanced, Backend.inline),
        (Mode.cached, Policy.aggressive, Backend.threads),
        (Mode.eager, Policy.device, Backend.device),
        (Mode.eager, Policy.auto, Backend.device),
        (Mode.cached, Policy.auto, Backend.inline),
    ],
)
def test_policies_choose_backends(mode: Mode, policy: Policy, backend: Backend) -> None:
    made = plan(wish=Wish(policy=policy), traits=replace(LIGHT, mode=mode))
    assert made.backend.value is backend


def test_a_cache_larger_than_ram_is_read_while_the_model_works() -> None:
    large = replace(LIGHT, mode=Mode.cached, beyond_ram=True)
    made = [
        plan(wish=Wish(policy=policy), traits=traits).backend.value
        for traits in (large, replace(large, beyond_ram=False))
        for policy in (Policy.balanced, Policy.safe)
    ]
    assert made == [Backend.threads, Backend.inline, Backend.inline, Backend.inline]


def test_aggressive_prefetches_twice_as_deep_and_safe_little() -> None:
    assert plan(wish=replace(THREADS, policy=Policy.aggressive)).prefetch.value == 8
    safe = plan(wish=replace(THREADS, policy=Policy.safe))
    assert (safe.num_workers.value, safe.prefetch.value) == (1, 2)


@pytest.mark.parametrize(
    ("machine", "traits", "why"),
    [
        (TWO_CORES, replace(LIGHT, mode=Mode.eager), "there is no GPU"),
        (RYZEN, LIGHT, "mode=cached does not hold the set; use mode=eager"),
        (RYZEN, replace(LIGHT, mode=Mode.eager, store_bytes=9 * GIB), "half of the GPU is 8.0 GiB"),
    ],
)
@pytest.mark.parametrize("wish", [Wish(backend=Backend.device), Wish(policy=Policy.device)])
def test_the_device_falls_back_where_the_set_cannot_live_there(
    machine: Machine, traits: Traits, why: str, wish: Wish
) -> None:
    made = plan(machine=machine, traits=traits, wish=wish)
    assert made.backend.value is Backend.inline
    assert any(line.startswith("backend device -> auto") and why in line for line in made.clamps)


def test_the_budget_lowers_prefetch_first_and_workers_after() -> None:
    batch = HEAVY.batch_bytes
    enough = plan(budget=in_flight(8, 4) * batch)
    assert (enough.num_workers.value, enough.prefetch.value, enough.clamps) == (8, 4, ())
    less = plan(budget=in_flight(8, 4) * batch - 1)
    assert (less.num_workers.value, less.prefetch.value) == (8, 3)
    least = plan(budget=in_flight(3, 1) * batch)
    assert (least.num_workers.value, least.prefetch.value) == (3, 1)
    assert any("num_workers -> 3" in line and "to spend" in line for line in least.clamps)
    assert any("prefetch -> 1" in line for line in least.clamps)


def test_without_room_for_a_worker_the_caller_fetches_and_below_that_is_an_error() -> None:
    batch = HEAVY.batch_bytes
    made = plan(budget=2 * batch)
    assert made.backend.value is Backend.inline
    assert made.num_workers.value == 0
    assert made.total_bytes == 2 * batch
    with pytest.raises(BudgetError, match=r"a smaller loader\.batch_size"):
        plan(budget=2 * batch - 1)


def test_a_mode_over_the_budget_is_refused_with_the_nearest_alternative() -> None:
    eager = replace(LIGHT, mode=Mode.eager, resident_bytes=int(21.4 * GIB))
    with pytest.raises(
        BudgetError, match=r"mode=eager needs 21\.\d+ GiB.*12\.0 GiB\. Use mode=cached"
    ):
        plan(traits=eager, budget=12 * GIB)
    window = replace(LIGHT, mode=Mode.streaming, resident_bytes=2 * GIB)
    with pytest.raises(BudgetError, match=r"mode\.window_segments"):
        plan(traits=window, budget=GIB)


def test_the_processes_of_a_stream_share_its_window() -> None:
    traits = replace(HEAVY, mode=Mode.streaming, resident_bytes=GIB)
    wish = Wish(backend=Backend.processes, num_workers=8)
    alone = plan(traits=traits, wish=replace(wish, backend=Backend.threads))
    made = plan(traits=traits, wish=wish, budget=4 * GIB)
    assert made.num_workers.value == 8
    assert made.total_bytes == alone.total_bytes


@pytest.mark.parametrize("cap", ["max_workers", "max_workers_low_memory", "max_workers_small"])
def test_a_cap_of_zero_workers_means_the_caller_fetches(cap: str) -> None:
    machine = replace(RYZEN, free_bytes=GIB)
    made = plan(machine=machine, profile=replace(RTX5080, **{cap: 0}), traits=sized(HEAVY, 10))
    assert made.backend.value is Backend.inline
    assert made.num_workers.value == 0
    assert any(line.startswith("backend threads -> inline") for line in made.clamps)


def test_a_backend_with_workers_and_a_wish_for_none_is_told() -> None:
    made = plan(wish=replace(THREADS, num_workers=0))
    assert made.num_workers.value == 1
    assert any(line.startswith("num_workers 0 -> 1") for line in made.clamps)
    assert plan(wish=Wish(num_workers=0)).backend.value is Backend.inline


def test_processes_start_safely_beside_threads_unless_asked_otherwise() -> None:
    wish = Wish(backend=Backend.processes)
    assert plan(wish=wish).start_method.value is StartMethod.forkserver
    forked = plan(wish=replace(wish, start_method=StartMethod.fork))
    assert forked.start_method.value is StartMethod.fork


def test_what_a_probe_picks_goes_after_wishes_and_is_clamped() -> None:
    picks = Picks(Backend.threads, num_workers=6, prefetch=2, reason="900 samples/s predicted")
    made = plan(wish=Wish(policy=Policy.auto), traits=LIGHT, picks=picks)
    for decision in (made.backend, made.num_workers, made.prefetch):
        assert (decision.source, decision.reason) == ("probe", "900 samples/s predicted")
    assert (made.num_workers.value, made.prefetch.value) == (6, 2)
    asked = plan(wish=Wish(num_workers=3), traits=LIGHT, picks=picks)
    assert (asked.num_workers.value, asked.num_workers.source) == (3, "override")
    assert plan(wish=Wish(num_workers=0), picks=picks).backend.value is Backend.inline
    small = plan(machine=TWO_CORES, wish=Wish(), traits=sized(LIGHT, 10), picks=picks)
    assert (small.num_workers.value, small.num_workers.source) == (2, "clamp")
    nowhere = plan(machine=TWO_CORES, wish=Wish(), picks=replace(picks, backend=Backend.device))
    assert nowhere.backend.value is Backend.threads
    assert "backend device -> auto: there is no GPU" in nowhere.clamps


@given(
    cores=st.integers(1, 256),
    free=st.integers(0, 256 * GIB),
    gpu=st.one_of(st.none(), st.integers(GIB, 160 * GIB)),
    profile=st.sampled_from([RTX5080, Profile(), Profile(max_workers=0), Profile(num_cores=96)]),
    wish=st.builds(
        Wish,
        policy=st.sampled_from(Policy),
        backend=st.sampled_from(Backend),
        num_workers=st.one_of(st.none(), st.integers(0, 100)),
        prefetch=st.one_of(st.none(), st.integers(1, 20)),
        pin_memory=st.sampled_from([None, True, False]),
        persistent_workers=st.sampled_from([None, True, False]),
    ),
    mode=st.sampled_from(Mode),
    num_segments=st.integers(1, 10**7),
    batch_bytes=st.integers(1, 512 * MIB),
    resident=st.integers(0, 8 * GIB),
    budget=st.integers(0, 64 * GIB),
)
def test_every_plan_fits_the_machine_and_gives_its_reasons(
    cores, free, gpu, profile, wish, mode, num_segments, batch_bytes, resident, budget
) -> None:
    machine = Machine(cores, 256 * GIB, free, "GPU" if gpu else None, gpu or 0)
    traits = Traits(mode, num_segments, batch_bytes, batch_bytes * 10, resident, mode is Mode.lazy)
    try:
        made = plan(machine, profile, wish, traits, budget)
    except BudgetError:
        assert resident + 2 * batch_bytes > budget
        return
    assert made.total_bytes <= budget
    assert made.num_workers.value <= min(cores, profile.max_workers)
    assert (made.num_workers.value == 0) == (made.backend.value in (Backend.inline, Backend.device))
    assert made.backend.value is not Backend.auto
    assert made.backend.value is not Backend.device or gpu
    assert made.prefetch.value >= 1
    assert gpu or not made.pin_memory.value
    rows = made.rows()
    assert len(rows) == 6
    assert all(all(row) for row in rows), "every field has a value, a source and a reason"
    assert made == plan(machine, profile, wish, traits, budget), "the plan is a pure function"


def test_what_the_profile_has_and_the_machine_has_not_is_said_once_each() -> None:
    made = plan(machine=TWO_CORES, profile=replace(RTX5080, gpu="GeForce RTX 5080"))
    told = [line.split(":")[0] for line in made.clamps]
    assert told[:2] == ["num_cores 32 -> 2", "gpu GeForce RTX 5080 -> none"]
    assert len(told) == len(set(told))
    assert not [
        line for line in plan(machine=RYZEN).clamps if line.startswith(("num_cores", "gpu"))
    ]
