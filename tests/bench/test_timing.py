"""Ratios are taken fairly, and a loader that cheats fails the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from chirpid.bench import timing
from chirpid.bench.timing import Case, Row, compare, waits_of_pass
from chirpid.bench.truth import Truth
from chirpid.errors import BenchmarkError
from chirpid.types import Batch, FloatArray

NUM, BATCH = 24, 4
ROWS = torch.randn((NUM, 3, 50), generator=torch.Generator().manual_seed(0))
Batches = list[object]


def shuffled(seed: int) -> list[Tensor]:
    order = torch.randperm(NUM, generator=torch.Generator().manual_seed(seed))
    return list(order.split(BATCH))


def honest(seed: int) -> Iterator[object]:
    for ids in shuffled(seed):
        yield ROWS[ids]


def told(seed: int) -> Iterator[object]:
    for ids in shuffled(seed):
        yield Batch(ids=ids.numpy(), inputs=ROWS[ids])


def run(case: Case, truth: Truth | None = None) -> list[Row]:
    cases = [Case("work", "base", honest), case]
    return compare(
        cases, truth=truth or Truth.of(ROWS), baseline="base", limit="base", num_samples=NUM,
        seeds=[0, 1], say=lambda line: None,
    )  # fmt: skip


def drops_a_batch(batches: Batches) -> Batches:
    return batches[:-1]


def repeats_a_batch(batches: Batches) -> Batches:
    return [*batches[:-1], batches[0]]


def changes_one_value(batches: Batches) -> Batches:
    first = batches[0]
    rows = (first.inputs if isinstance(first, Batch) else first).clone()  # type: ignore[attr-defined]
    rows[1, 2, 31] += 0.01
    return [Batch(first.ids, rows) if isinstance(first, Batch) else rows, *batches[1:]]


def serves_zeros(batches: Batches) -> Batches:
    return [torch.zeros_like(b.inputs if isinstance(b, Batch) else b) for b in batches]  # type: ignore[call-overload]


def adds_a_batch(batches: Batches) -> Batches:
    return [*batches, batches[0]]


@pytest.mark.parametrize("source", [honest, told])
@pytest.mark.parametrize(
    "cheat", [drops_a_batch, repeats_a_batch, changes_one_value, serves_zeros, adds_a_batch]
)
def test_a_cheating_loader_fails(
    source: Callable[[int], Iterator[object]], cheat: Callable[[Batches], Batches]
) -> None:
    cheater = Case("work", "cheater", lambda seed: iter(cheat(list(source(seed)))))
    with pytest.raises(BenchmarkError, match="work, cheater: "):
        run(cheater)


def test_a_loader_that_cheats_only_while_the_clock_runs_fails() -> None:
    passes: list[int] = []

    def cheats_later(seed: int) -> Iterator[object]:
        passes.append(seed)
        return iter(repeats_a_batch(list(honest(seed))) if len(passes) > 3 else list(honest(seed)))

    with pytest.raises(BenchmarkError, match="cheater"):
        run(Case("work", "cheater", cheats_later))


def test_a_loader_that_names_the_right_rows_and_gives_others_fails() -> None:
    def swapped(seed: int) -> Iterator[object]:
        for ids in shuffled(seed):
            yield Batch(ids=ids.numpy(), inputs=ROWS[ids.flip(0)])

    with pytest.raises(BenchmarkError, match="values are off"):
        run(Case("work", "cheater", swapped))


def test_rows_may_be_off_by_the_tolerance_and_by_no_more() -> None:
    truth = Truth(lambda first, end: ROWS[first:end], NUM, tolerance=0.02)

    def off_by(amount: float) -> Case:
        def passes(seed: int) -> Iterator[object]:
            for ids in shuffled(seed):
                yield ROWS[ids] + amount, ids

        return Case("work", "case", passes)

    base = off_by(0.0)
    compare([base], truth=truth, baseline="case", limit="case", num_samples=NUM, seeds=[0],
            say=lambda line: None)  # fmt: skip
    for amount, passes in ((0.015, True), (-0.03, False)):
        receipt = truth.receipt(deep=False)
        for batch in off_by(amount).run(0):
            receipt.take(batch)
        if passes:
            receipt.check("case")
        else:
            with pytest.raises(BenchmarkError, match="off by"):
                receipt.check("case")


def test_rows_that_are_asked_for_twice_must_come_twice() -> None:
    truth = Truth.of(ROWS, times=2)

    def twice(seed: int) -> Iterator[object]:
        yield from honest(seed)
        yield from honest(seed + 1)

    case = Case("work", "case", twice)
    (row,) = compare([case], truth=truth, baseline="case", limit="case", num_samples=2 * NUM,
                     seeds=[0], say=lambda line: None)  # fmt: skip
    assert row.ratio == 1.0
    with pytest.raises(BenchmarkError, match="24 rows came, 48"):
        run(Case("work", "once", honest), truth)


def test_all_that_a_pass_does_is_on_the_clock_and_taking_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def batches() -> Iterator[object]:
        now[0] += 5  # to start
        yield 1
        now[0] += 2
        yield 2
        now[0] += 1  # to end

    def take(batch: object) -> None:
        now[0] += 100

    assert waits_of_pass(batches(), take).tolist() == [5, 2, 1]


def test_ratios_are_taken_within_a_turn_so_that_a_slow_turn_is_slow_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two passes to warm up, then one in each of three turns: none is short enough for more.
    spent = {"base": iter([2.0, 2.0, 200.0, 2.0]), "ours": iter([1.0, 1.0, 100.0, 1.0])}

    def case(name: str) -> Case:
        def batches(seed: int) -> Iterator[object]:
            yield name

        return Case("work", name, batches, checked=False)

    def told(batches: Iterator[object], take: Callable[[object], None]) -> FloatArray:
        return np.array([next(spent[str(next(batches))]), 0.0])

    monkeypatch.setattr(timing, "waits_of_pass", told)
    rows = compare(
        [case("base"), case("ours")], truth=Truth.of(ROWS), baseline="base",
        limit=lambda turns: turns.seconds["ours"] / 2, num_samples=10, seeds=[0, 1, 2],
        say=lambda line: None,
    )  # fmt: skip
    assert [row.ratio for row in rows] == [1.0, 2.0]
    assert [row.percent_of_limit for row in rows] == [25.0, 50.0]
    assert rows[0].median_s == 2.0
    assert rows[0].spread == (2.0, 200.0)


def test_turns_visit_the_cases_in_changing_order_and_close_each_once() -> None:
    visits: list[str] = []
    closed: list[str] = []

    def case(name: str) -> Case:
        def batches(seed: int) -> Iterator[object]:
            visits.append(name)
            yield from honest(seed)

        return Case("work", name, batches, lambda: closed.append(name))

    cases = [case(name) for name in "abcd"]
    compare(cases, truth=Truth.of(ROWS), baseline="a", limit="a", num_samples=NUM,
            seeds=range(6), say=lambda line: None)  # fmt: skip
    assert closed == list("abcd")
    orders = {tuple(dict.fromkeys(visits[i:])) for i in range(8, len(visits)) if i % 4 == 0}
    assert len(orders) > 1


def test_cases_are_closed_when_one_of_them_fails() -> None:
    closed: list[str] = []

    def broken(seed: int) -> Iterator[object]:
        yield ROWS[:1]

    with pytest.raises(BenchmarkError):
        run(Case("work", "broken", broken, lambda: closed.append("broken")))
    assert closed == ["broken"]
