"""Which settings get a trial, and what their trials decide. The trainings are told, not run."""

from __future__ import annotations

import numpy as np

from chirpid.loading.tune import Limits, Measured, Setting, candidates, choose
from chirpid.loading.tune.choose import rank, trial_key
from chirpid.loading.tune.model import batch_seconds
from chirpid.loading.tune.trials import LEAST_BATCHES, _batches, try_settings
from chirpid.types import Backend, Mode
from tests.loading.tune.costs import COSTS, INLINE, WORK

LAZY = candidates(WORK, Limits(modes=(Mode.lazy,), max_workers=2))


class World:
    """A machine on which settings take another time than the model says."""

    def __init__(self, slower: dict[Setting, float], broken: tuple[Setting, ...] = ()) -> None:
        self.slower = {trial_key(s): factor for s, factor in slower.items()}
        self.broken = {trial_key(s) for s in broken}
        self.asked: list[Setting] = []

    def run(self, setting: Setting, seconds: float) -> Measured | None:
        assert seconds > 0
        self.asked.append(setting)
        if trial_key(setting) in self.broken:
            return None
        factor = self.slower.get(trial_key(setting), 1.0)
        return Measured(batch_seconds(COSTS, setting, WORK) * factor, 0.0, 5)


def picked(world: World) -> Setting:
    trials = try_settings(COSTS, LAZY, WORK, {}, world.run, budget_s=1.0)
    left = [s for s in LAZY if trial_key(s) not in world.broken]
    return choose(rank(COSTS, left, WORK, trials), WORK).setting


def test_what_was_measured_to_be_the_best_is_taken() -> None:
    """All that has workers takes twice as long as the model says: inline it is, which it did not
    think of."""
    assert choose(rank(COSTS, LAZY, WORK), WORK).setting.backend is Backend.threads
    with_workers = {s: 2.0 for s in LAZY if s.num_workers}
    assert picked(World(with_workers)) == INLINE[Mode.lazy]
    assert picked(World({})).backend is Backend.threads


def test_a_setting_that_becomes_the_best_by_what_is_learnt_is_tried_before_it_is_taken() -> None:
    world = World({s: 1.5 for s in LAZY if s.num_workers == 1})
    pick = picked(world)
    assert trial_key(pick) in {trial_key(s) for s in world.asked}


def test_what_cannot_be_tried_is_not_taken() -> None:
    first = World({})
    picked(first)
    best = first.asked[0]
    world = World({}, broken=(best,))
    assert trial_key(picked(world)) != trial_key(best)
    assert world.asked.count(best) == 1  # once is enough


def test_what_was_tried_before_is_not_tried_again() -> None:
    world = World({})
    known = try_settings(COSTS, LAZY, WORK, {}, world.run, budget_s=1.0)
    asked = len(world.asked)
    again = try_settings(COSTS, LAZY, WORK, known, world.run, budget_s=1.0)
    assert len(world.asked) == asked
    assert again == known


def test_close_settings_are_tried_twice_and_count_as_their_mean() -> None:
    turns: dict[Setting, int] = {}

    def run(setting: Setting, seconds: float) -> Measured:
        turns[setting] = turns.get(setting, 0) + 1
        return Measured(0.06 if turns[setting] == 1 else 0.064, 0.1 * turns[setting], 5)

    trials = try_settings(COSTS, LAZY, WORK, {}, run, budget_s=5.0)
    twice = [s for s, count in turns.items() if count == 2]
    assert len(twice) >= 2
    assert max(turns.values()) == 2
    for setting in twice:
        measured = trials[trial_key(setting)]
        assert measured.num_batches == 10
        assert abs(measured.batch_s - 0.062) < 1e-9
        assert abs(measured.wait_share - 0.15) < 1e-9


def test_batches_of_any_size_take_little_memory() -> None:
    for size in (1, 32, 10**6):
        batches = _batches(np.arange(5), size)
        assert len(batches) >= 2 * LEAST_BATCHES
        assert {len(ids) for ids in batches} == {size}
        assert sum(map(len, batches)) <= max(2**22, 2 * LEAST_BATCHES * size)
