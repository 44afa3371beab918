"""What holds of every plan, whatever the machine, the profile, the wishes and the set."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from chirpid.errors import BudgetError
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.plan import Picks, Profile, Traits, Wish, make_plan
from chirpid.types import Backend, Mode, Policy, StartMethod

MIB = 2**20
SOURCES = {"override", "probe", "policy", "profile", "dataset", "machine", "clamp"}
maybe = st.sampled_from([None, True, False])
machines = st.builds(
    Machine,
    num_cores=st.integers(1, 256),
    ram_bytes=st.just(256 * GIB),
    free_bytes=st.integers(0, 256 * GIB),
    gpu=st.sampled_from([None, "NVIDIA H200", "NVIDIA GeForce RTX 5080"]),
    gpu_bytes=st.integers(GIB, 160 * GIB),
)
profiles = st.builds(
    Profile,
    num_cores=st.sampled_from([None, 8, 96]),
    ram_bytes=st.sampled_from([None, 16 * GIB, 512 * GIB]),
    gpu=st.sampled_from([None, "none", "NVIDIA H200"]),
    gpu_bytes=st.sampled_from([None, 16 * GIB, 141 * GIB]),
    num_workers_heavy=st.sampled_from([None, 8]),
    num_workers_light=st.sampled_from([None, 12]),
    max_workers=st.integers(0, 24),
    pin_memory=st.booleans(),
)
wishes = st.builds(
    Wish,
    policy=st.sampled_from(Policy),
    backend=st.sampled_from(Backend),
    num_workers=st.none() | st.integers(0, 100),
    prefetch=st.none() | st.integers(1, 20),
    pin_memory=maybe,
    persistent_workers=maybe,
    start_method=st.sampled_from(StartMethod),
)
sets = st.builds(
    Traits,
    mode=st.sampled_from(Mode),
    num_segments=st.integers(1, 10**7),
    batch_bytes=st.integers(1, 512 * MIB),
    store_bytes=st.integers(1, 200 * GIB),
    resident_bytes=st.integers(0, 8 * GIB),
    heavy=st.booleans(),
    beyond_ram=st.booleans(),
)
picks_or_none = st.none() | st.builds(
    Picks,
    backend=st.sampled_from([one for one in Backend if one is not Backend.auto]),
    num_workers=st.integers(1, 100),
    prefetch=st.integers(1, 20),
    reason=st.just("900 samples/s predicted"),
    pin_memory=maybe,
)


@given(machines, profiles, wishes, sets, st.integers(0, 64 * GIB), picks_or_none)
def test_every_plan_fits_the_machine_and_gives_its_reasons(
    machine: Machine, profile: Profile, wish: Wish, traits: Traits, budget: int, picks: Picks | None
) -> None:
    given_all = {"machine": machine, "profile": profile, "wish": wish, "traits": traits}
    try:
        made = make_plan(**given_all, budget_bytes=budget, picks=picks)
    except BudgetError:
        assert traits.resident_bytes + 2 * traits.batch_bytes > budget
        return
    assert made == make_plan(**given_all, budget_bytes=budget, picks=picks), "a pure function"

    assert made.total_bytes <= budget
    assert made.num_workers.value <= min(machine.num_cores, profile.max_workers)
    if machine.free_bytes < profile.low_memory_bytes:
        assert made.num_workers.value <= profile.max_workers_low_memory
    in_caller = made.backend.value in (Backend.inline, Backend.device)
    assert (made.num_workers.value == 0) == in_caller
    assert made.prefetch.value >= 1
    assert made.backend.value is not Backend.auto
    assert (made.start_method.value is not StartMethod.auto) == (
        made.backend.value is Backend.processes
    )

    has_gpu = machine.gpu is not None and profile.gpu != "none"
    assert has_gpu or not (made.pin_memory.value or made.backend.value is Backend.device)
    if made.backend.value is Backend.device:
        assert traits.mode is Mode.eager
        assert 2 * traits.store_bytes <= machine.gpu_bytes

    rows = made.rows()
    assert len(rows) == 6
    assert all(all(row) and row[2] in SOURCES for row in rows), "value, source and reason"
    if picks is None:
        assert "probe" not in {row[2] for row in rows}
    # Exactly one line for each clamp, and none without.
    subjects = [line.split(" ")[0] for line in made.clamps]
    facts = subjects[: len(made.missing)]
    assert subjects[len(facts) :] == [row[0] for row in rows if row[2] == "clamp"]
    assert len(set(facts)) == len(facts)
    assert set(facts) <= {"num_cores", "ram_gib", "gpu", "gpu_memory_gib"}


@given(machines, profiles, wishes, sets, picks_or_none)
def test_what_is_asked_for_wins_unless_a_line_says_why_not(
    machine: Machine, profile: Profile, wish: Wish, traits: Traits, picks: Picks | None
) -> None:
    made = make_plan(
        machine=machine, profile=profile, wish=wish, traits=traits, budget_bytes=500 * GIB,
        picks=picks,
    )  # fmt: skip
    for one in fields(Wish):
        asked = getattr(wish, one.name)
        if one.name == "policy" or asked in (None, Backend.auto, StartMethod.auto):
            continue
        if one.name in ("start_method", "persistent_workers") and wish.backend is not Backend.auto:
            continue  # contradicts the backend that was asked for: a note on the settings
        got = getattr(made, one.name)
        lines = [line for line in made.clamps if line.startswith(f"{one.name} ")]
        assert got.value == asked or len(lines) == 1


@given(machines, profiles, sets, st.integers(1, 64 * GIB))
def test_more_memory_never_means_fewer_batches_in_preparation(
    machine: Machine, profile: Profile, traits: Traits, budget: int
) -> None:
    prepared = []
    for one in (budget, 2 * budget):
        try:
            made = make_plan(
                machine=machine, profile=profile, wish=Wish(), traits=traits, budget_bytes=one
            )
        except BudgetError:
            prepared.append(-1)
        else:
            prepared.append(made.num_workers.value * made.prefetch.value)
    assert prepared[0] <= prepared[1]


def test_planning_needs_no_torch() -> None:
    program = "import sys, chirpid.loading.plan; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
