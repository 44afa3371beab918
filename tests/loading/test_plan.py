"""The plan as a table: facts, wishes and sets in; decisions with their sources out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chirpid.errors import BudgetError
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.plan import LoaderPlan, Picks, Profile, Traits, Wish, in_flight, make_plan
from chirpid.types import Backend, Mode, Policy, StartMethod

MIB = 2**20
MACHINES = {
    "ryzen": Machine(32, 64 * GIB, 48 * GIB, "NVIDIA GeForce RTX 5080", 16 * GIB),
    "no-gpu": Machine(32, 64 * GIB, 48 * GIB),
    "quad": Machine(4, 16 * GIB, 12 * GIB),
    "single": Machine(1, 8 * GIB, 6 * GIB),
    "low": Machine(16, 64 * GIB, 3 * GIB),
}
PROFILES = {
    "auto": Profile(),
    "cpu": Profile("cpu", gpu="none", pin_memory=False),
    "rtx5080": Profile("rtx5080", num_cores=32, gpu="NVIDIA GeForce RTX 5080",
                       num_workers_heavy=8, num_workers_light=12, prefetch_light=6),
    "capped": Profile("capped", max_workers=3),
    "none": Profile("none", max_workers=0),
}  # fmt: skip
DEFAULT = Wish()
LAZY = Traits(Mode.lazy, 5000, 8 * MIB, GIB, heavy=True)
SETS = {
    "lazy": LAZY,
    "lazy-small": replace(LAZY, num_segments=999),
    "lazy-1000": replace(LAZY, num_segments=1000),
    "lazy-10000": replace(LAZY, num_segments=10_000),
    "lazy-large": replace(LAZY, num_segments=10_001),
    "streaming": replace(LAZY, mode=Mode.streaming, heavy=False),
    "cached": replace(LAZY, mode=Mode.cached, heavy=False),
    "cached-small": replace(LAZY, mode=Mode.cached, heavy=False, num_segments=999),
    "cached-large": replace(LAZY, mode=Mode.cached, heavy=False, num_segments=50_000),
    "cached-cold": replace(LAZY, mode=Mode.cached, heavy=False, beyond_ram=True),
    "eager": replace(LAZY, mode=Mode.eager, heavy=False, resident_bytes=GIB),
    "eager-9gib": replace(LAZY, mode=Mode.eager, heavy=False, store_bytes=9 * GIB),
}
# `probe=backend,workers,prefetch` is what a probe picked.
# Sources: o override, r probe, y policy, p profile, d dataset, m machine, c clamp.
TABLE = """
machine profile  set           wish                                  | backend      workers prefetch pinned   lasting start       | clamps
# The numbers that are known to be good on that machine.
ryzen   rtx5080  lazy          -                                     | threads:d    8:p     4:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  cached        backend=threads                       | threads:o    12:p    6:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  lazy-small    -                                     | threads:d    4:c     4:p      true:p   true:d  auto:d       | num_workers 8 -> 4
ryzen   rtx5080  cached-small  backend=threads                       | threads:o    4:c     6:p      true:p   true:d  auto:d       | num_workers 12 -> 4
ryzen   rtx5080  lazy-1000     -                                     | threads:d    8:p     4:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  lazy-10000    -                                     | threads:d    8:p     4:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  lazy-large    -                                     | threads:d    10:p    4:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  cached-large  backend=threads                       | threads:o    14:p    6:p      true:p   true:d  auto:d       | -
# hardware=auto: three quarters of the cores, at most 16; two with little memory.
ryzen   auto     lazy          -                                     | threads:d    16:c    4:p      true:p   true:d  auto:d       | num_workers 24 -> 16
quad    auto     lazy          -                                     | threads:d    3:m     4:p      false:m  true:d  auto:d       | -
single  auto     lazy          -                                     | threads:d    1:m     4:p      false:m  true:d  auto:d       | -
low     auto     lazy          -                                     | threads:d    2:c     4:p      false:m  true:d  auto:d       | num_workers 12 -> 2
# A profile on another machine, and its caps.
quad    rtx5080  cached-large  backend=threads                       | threads:o    4:c     6:p      false:m  true:d  auto:d       | num_cores 32 -> 4 + gpu NVIDIA GeForce RTX 5080 -> none + num_workers 14 -> 4
ryzen   cpu      lazy          -                                     | threads:d    16:c    4:p      false:m  true:d  auto:d       | num_workers 24 -> 16
ryzen   capped   lazy          -                                     | threads:d    3:c     4:p      true:p   true:d  auto:d       | num_workers 24 -> 3
ryzen   none     lazy          -                                     | inline:c     0:c     1:d      true:p   false:d auto:d       | backend threads -> inline + num_workers 24 -> 0
# Policies.
ryzen   rtx5080  lazy          policy=safe                           | inline:y     0:d     1:d      false:y  false:d auto:d       | -
ryzen   rtx5080  lazy          policy=safe backend=threads           | threads:o    1:y     2:y      false:y  true:d  auto:d       | -
ryzen   rtx5080  lazy          policy=aggressive                     | threads:d    8:p     8:y      true:p   true:d  auto:d       | -
quad    auto     lazy          policy=aggressive                     | threads:d    4:m     8:y      false:m  true:d  auto:d       | -
ryzen   rtx5080  cached        policy=balanced                       | inline:d     0:d     1:d      true:p   false:d auto:d       | -
ryzen   rtx5080  eager         policy=balanced                       | inline:d     0:d     1:d      true:p   false:d auto:d       | -
ryzen   rtx5080  streaming     policy=balanced                       | threads:d    12:p    6:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  cached        policy=aggressive                     | threads:y    12:p    12:y     true:p   true:d  auto:d       | -
single  auto     cached        policy=aggressive                     | inline:d     0:d     1:d      false:m  false:d auto:d       | -
ryzen   rtx5080  cached-cold   policy=balanced                       | threads:d    12:p    6:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  cached-cold   policy=safe                           | inline:y     0:d     1:d      false:y  false:d auto:d       | -
ryzen   rtx5080  eager         policy=device                         | device:y     0:d     1:d      false:d  false:d auto:d       | -
ryzen   rtx5080  eager         policy=auto                           | device:y     0:d     1:d      false:d  false:d auto:d       | -
ryzen   rtx5080  eager-9gib    policy=auto                           | inline:d     0:d     1:d      true:p   false:d auto:d       | -
ryzen   rtx5080  cached        policy=auto                           | inline:d     0:d     1:d      true:p   false:d auto:d       | -
# The device where the set cannot live there.
no-gpu  auto     eager         policy=device                         | inline:c     0:d     1:d      false:m  false:d auto:d       | backend device -> inline: there is no GPU
ryzen   cpu      eager         backend=device                        | inline:c     0:d     1:d      false:m  false:d auto:d       | backend device -> inline: there is no GPU
ryzen   rtx5080  cached        backend=device                        | inline:c     0:d     1:d      true:p   false:d auto:d       | backend device -> inline: mode=cached does not hold the set; use mode=eager
ryzen   rtx5080  eager-9gib    policy=device                         | inline:c     0:d     1:d      true:p   false:d auto:d       | backend device -> inline: the set needs 9.0 GiB, half of the GPU is 8.0 GiB
ryzen   rtx5080  lazy          backend=device                        | threads:c    8:p     4:p      true:p   true:d  auto:d       | backend device -> threads
# What is asked for wins, and what cannot be is told.
ryzen   rtx5080  lazy          num_workers=5 prefetch=3 pin_memory=false | threads:o 5:o    3:o      false:o  true:d  auto:d       | -
ryzen   rtx5080  lazy-small    num_workers=8                         | threads:o    8:o     4:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  eager         policy=auto num_workers=2             | threads:o    2:o     6:p      true:p   true:d  auto:d       | -
quad    auto     lazy          num_workers=64 pin_memory=true        | threads:o    4:c     4:p      false:c  true:d  auto:d       | num_workers 64 -> 4 + pin_memory true -> false
low     capped   lazy          num_workers=64                        | threads:o    2:c     4:p      false:m  true:d  auto:d       | num_workers 64 -> 2: 3.0 GiB free
quad    auto     lazy          num_workers=0                         | inline:o     0:d     1:d      false:m  false:d auto:d       | -
quad    auto     lazy          backend=threads num_workers=0         | threads:o    1:c     4:p      false:m  true:d  auto:d       | num_workers 0 -> 1: loader.backend=threads has workers
quad    none     lazy          backend=threads num_workers=0         | inline:c     0:o     1:d      false:m  false:d auto:d       | backend threads -> inline
quad    auto     cached        prefetch=6 start_method=fork          | inline:d     0:d     1:c      false:m  false:d auto:c       | prefetch 6 -> 1 + start_method fork -> auto
ryzen   rtx5080  eager         policy=device num_workers=4           | device:y     0:c     1:d      false:d  false:d auto:d       | num_workers 4 -> 0: backend device fetches in the caller
quad    auto     lazy          persistent_workers=false              | threads:d    3:m     4:p      false:m  true:c  auto:d       | persistent_workers false -> true: threads outlive
# Processes start safely beside threads unless asked otherwise.
quad    auto     lazy          backend=processes                     | processes:o  3:m     4:p      false:m  true:p  forkserver:y | -
quad    auto     lazy          backend=processes start_method=fork persistent_workers=false | processes:o 3:m 4:p false:m false:o fork:o | -
# What a probe picked goes before policy and profile, after wishes, and is clamped.
ryzen   rtx5080  cached        policy=auto probe=threads,6,2         | threads:r    6:r     2:r      true:p   true:d  auto:d       | -
ryzen   rtx5080  eager         policy=auto probe=device,0,1          | device:r     0:d     1:d      false:d  false:d auto:d       | -
ryzen   rtx5080  lazy          policy=auto probe=inline,0,1          | inline:r     0:d     1:d      true:p   false:d auto:d       | -
ryzen   rtx5080  lazy-small    policy=auto probe=threads,6,2         | threads:r    6:r     2:r      true:p   true:d  auto:d       | -
ryzen   rtx5080  cached        num_workers=3 probe=processes,6,2     | processes:r  3:o     2:r      true:p   true:p  forkserver:y | -
ryzen   rtx5080  cached        num_workers=3 probe=inline,0,1        | threads:o    3:o     6:p      true:p   true:d  auto:d       | -
ryzen   rtx5080  cached        num_workers=0 probe=threads,6,2       | inline:o     0:d     1:d      true:p   false:d auto:d       | -
ryzen   rtx5080  cached        backend=inline probe=threads,6,2      | inline:o     0:d     1:d      true:p   false:d auto:d       | -
quad    auto     cached        policy=auto probe=threads,6,2         | threads:r    4:c     2:r      false:m  true:d  auto:d       | num_workers 6 -> 4
quad    auto     cached        policy=auto probe=device,0,1          | inline:c     0:d     1:d      false:m  false:d auto:d       | backend device -> inline: there is no GPU
"""  # noqa: E501 - a case a line reads as the table it is
SOURCES = {
    "o": "override", "r": "probe", "y": "policy", "p": "profile", "d": "dataset", "m": "machine",
    "c": "clamp",
}  # fmt: skip
LINES = [line for line in TABLE.strip().splitlines()[1:] if not line.startswith("#")]


def plan(
    machine: Machine = MACHINES["ryzen"],
    profile: Profile = PROFILES["rtx5080"],
    wish: Wish = DEFAULT,
    traits: Traits = LAZY,
    budget: int = 16 * GIB,
    picks: Picks | None = None,
) -> LoaderPlan:
    return make_plan(
        machine=machine, profile=profile, wish=wish, traits=traits, budget_bytes=budget,
        picks=picks,
    )  # fmt: skip


def asked(words: str) -> tuple[Wish, Picks | None]:
    """Return the wish and the picks of a line of the table."""
    kinds = {"policy": Policy, "backend": Backend, "num_workers": int, "prefetch": int,
             "start_method": StartMethod}  # fmt: skip
    pairs = dict(word.split("=") for word in words.split() if word != "-")
    probe = pairs.pop("probe", None)
    wish = Wish(**{k: kinds.get(k, lambda v: v == "true")(v) for k, v in pairs.items()})
    if probe is None:
        return wish, None
    backend, workers, prefetch = probe.split(",")
    return wish, Picks(Backend(backend), int(workers), int(prefetch), "900 samples/s predicted")


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.partition("|")[0].split()))
def test_facts_wishes_and_sets_lead_to_this_plan(line: str) -> None:
    given, expected, clamps = (part.strip() for part in line.split("|"))
    machine, profile, name, wishes = given.split(maxsplit=3)
    wish, picks = asked(wishes)
    made = plan(MACHINES[machine], PROFILES[profile], wish, SETS[name], picks=picks)
    decided = [(value, source) for _, value, source, _ in made.rows()]
    told = [one.split(":") for one in expected.split()]
    assert decided == [(value, SOURCES[letter]) for value, letter in told]
    starts = [] if clamps == "-" else clamps.split(" + ")
    assert len(made.clamps) == len(starts)
    for said, start in zip(made.clamps, starts, strict=True):
        assert said.startswith(start)


@pytest.mark.parametrize(
    ("num_batches", "workers", "prefetch", "lines"),
    [
        (in_flight(8, 4), 8, 4, []),
        (in_flight(8, 4) - 1, 8, 3, ["prefetch 4 -> 3: batches of 8.0 MiB, "]),
        (in_flight(8, 1), 8, 1, ["prefetch 4 -> 1"]),
        (in_flight(3, 1), 3, 1, ["num_workers 8 -> 3", "prefetch 4 -> 1"]),
        (2, 0, 1, ["backend threads -> inline: batches of 8.0 MiB, 16.0 MiB to spend",
                   "num_workers 8 -> 0"]),
    ],
)  # fmt: skip
def test_the_budget_lowers_prefetch_first_and_workers_after(
    num_batches: int, workers: int, prefetch: int, lines: list[str]
) -> None:
    made = plan(budget=num_batches * LAZY.batch_bytes)
    assert (made.num_workers.value, made.prefetch.value) == (workers, prefetch)
    assert len(made.clamps) == len(lines)
    for said, start in zip(made.clamps, lines, strict=True):
        assert said.startswith(start)


def test_less_than_two_batches_is_an_error() -> None:
    with pytest.raises(BudgetError, match=r"a smaller loader\.batch_size"):
        plan(budget=2 * LAZY.batch_bytes - 1)


def test_a_mode_over_the_budget_is_refused_with_the_nearest_alternative() -> None:
    eager = replace(SETS["eager"], resident_bytes=int(21.4 * GIB))
    with pytest.raises(
        BudgetError, match=r"mode=eager needs 21\.\d+ GiB.*12\.0 GiB\. Use mode=cached"
    ):
        plan(traits=eager, budget=12 * GIB)
    window = replace(SETS["streaming"], resident_bytes=2 * GIB)
    with pytest.raises(BudgetError, match=r"mode\.window_segments"):
        plan(traits=window, budget=GIB)


def test_the_processes_of_a_stream_share_its_window() -> None:
    traits = replace(SETS["streaming"], resident_bytes=GIB)
    made = plan(traits=traits, wish=Wish(backend=Backend.processes), budget=4 * GIB)
    alone = plan(traits=traits, wish=Wish(backend=Backend.threads), budget=4 * GIB)
    assert (made.num_workers.value, made.total_bytes) == (12, alone.total_bytes)


def test_a_plan_tells_the_bytes_that_follow_from_it() -> None:
    made = plan(traits=SETS["eager"], wish=Wish(num_workers=2, prefetch=3))
    batches = in_flight(2, 3)
    assert made.total_bytes == GIB + batches * 8 * MIB
    assert [row[:3] for row in made.byte_rows()] == [
        ("batch_bytes", "8.0 MiB", "dataset"), ("total_bytes", "1.1 GiB", "dataset"),
    ]  # fmt: skip
    assert made.byte_rows()[1][3] == (
        "8 batches at once, 1.0 GiB that the mode holds; 16.0 GiB may be taken"
    )
