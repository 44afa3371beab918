"""A run is judged by the epochs that went under the plan that it ended with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chirpid.cli import advising, auto
from chirpid.cli.course import Course
from chirpid.cli.prepare import Prepared, prepare_loader
from chirpid.loading.changes import Shape, altered
from chirpid.loading.memory import MemoryGuard
from chirpid.loading.monitor import EpochMonitor
from chirpid.loading.tune import Setting
from chirpid.types import Backend, Mode
from tests.cli.test_advising import DECODING, outcome, prepared_with

HALF_FED = DECODING | {"loader/samples_per_s": 30.0, "loader/wait_share": 0.5,
                       "loader/cpu_share": 1.8}  # fmt: skip
FED = DECODING | {"loader/samples_per_s": 90.0, "loader/wait_share": 0.01,
                  "loader/fetch_cpu_share": 0.05, "loader/cpu_share": 1.0}  # fmt: skip
WORDS = ("mode=lazy", "loader.backend=inline", "engine.num_threads=1")
THREAD, TWO = Shape(Backend.threads, 1, 2), Shape(Backend.threads, 2, 2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared_with(tmp_path_factory.mktemp("outputs"), *WORDS)


@pytest.fixture
def course(prepared: Prepared) -> Iterator[Course]:
    with contextlib.closing(prepare_loader(prepared, Console(quiet=True))) as loader:
        yield Course(loader)


def change(course: Course, shape: Shape) -> None:
    plan = course.loader.plan
    assert plan is not None
    course.loader.change(altered(plan, shape, "loader.adapt", "a test"), "a test")


def train(
    course: Course, figures: dict[str, float], num_epochs: int, *, midway: Shape | None = None
) -> None:
    for epoch in range(num_epochs):
        course.epoch_starts(0, epoch, 2)
        course.batch_done(0, 1, 0.0, EpochMonitor())
        if midway is not None:
            change(course, midway)
        course.batch_done(0, 2, 0.0, EpochMonitor())
        course.epoch_done(0, epoch, figures)


def advice(prepared: Prepared, course: Course) -> Any:
    whole = [outcome(DECODING, 40)]
    return advising.results(prepared, whole, whole=True, course=course)["advice"]


def test_what_a_change_has_mended_is_not_advised(prepared: Prepared, course: Course) -> None:
    train(course, DECODING, 5)
    assert advice(prepared, course)["bound"] == "decode"
    change(course, THREAD)
    train(course, FED, 30)
    told = advice(prepared, course)
    assert (told["bound"], told["overrides"]) == ("model", [])
    assert told["bound_share"] is None, "the step was not alone, as it had been at first"
    assert "30 epochs under mode=lazy, 1 threads, prefetch 2, to which" in told["sentence"]


def test_what_to_type_starts_from_the_command_and_not_from_where_a_change_led(
    prepared: Prepared, course: Course
) -> None:
    train(course, DECODING, 5)
    change(course, TWO)
    train(course, HALF_FED, 30)
    assert course.last == Setting(Mode.lazy, Backend.threads, 2, 2)
    told = advice(prepared, course)
    assert told["overrides"][0] in ("mode=cached", "mode=eager")
    assert 1 < told["predicted_gain"] < 4, "over what it ended with, not what it began with"
    words = [one for one in told["overrides"] if one.startswith("loader.")]
    assert words in ([], ["loader.backend=threads", "loader.num_workers=1", "loader.prefetch=2"])


def test_epochs_that_a_change_falls_into_tell_of_no_plan(
    prepared: Prepared, course: Course
) -> None:
    train(course, DECODING, 1, midway=THREAD)
    assert course.last is None
    told = advice(prepared, course)
    assert (told["bound"], told["overrides"]) == ("unknown", [])
    assert told["sentence"].startswith("Loading was changed within each epoch")
    train(course, DECODING, 1)
    assert [setting for setting, _ in course.epochs] == [Setting(Mode.lazy, Backend.threads, 1, 2)]


def test_where_memory_ran_short_nothing_that_takes_more_is_advised(
    prepared: Prepared, course: Course
) -> None:
    change(course, TWO)
    guard = course.loader.guard = MemoryGuard()
    train(course, DECODING, 5)
    assert course.ram_bytes is None
    guard.has_stepped = True
    change(course, THREAD)
    train(course, DECODING, 30)
    plan, last = course.loader.plan, course.last
    assert plan is not None
    assert last == Setting(Mode.lazy, Backend.threads, 1, 2)
    before = advising.ways_of(prepared, last, advising.work_now(prepared))
    ways = advising.ways_after(course, last, before, began=advising.setting_of(prepared))
    assert ways.room is not None
    assert ways.limits.ram_bytes == ways.room.ram_bytes == plan.total_bytes
    assert before.limits.ram_bytes > plan.total_bytes
    assert set(ways.left) == {
        Setting(Mode.lazy, Backend.inline), Setting(Mode.lazy, Backend.threads, 2, 2),
    }  # fmt: skip
    assert advice(prepared, course)["overrides"] == ["mode=cached"], "it takes no more RAM"


def test_how_batches_were_fetched_in_the_end_is_told(course: Course) -> None:
    told = {"mode": "lazy", "backend": "inline", "num_workers": 0, "prefetch": 1, "changes": 0}
    assert course.results() == {"plan": told}
    change(course, TWO)
    told |= {"backend": "threads", "num_workers": 2, "prefetch": 2, "changes": 1}
    assert course.results() == {"plan": told}


def test_a_resumed_run_is_judged_by_the_epochs_since(prepared: Prepared, course: Course) -> None:
    before = [outcome(DECODING, 40)]  # whatever plan it had been changed to by then
    told = advising.results(prepared, before, whole=False, course=course)["advice"]
    assert (told["bound"], told["overrides"]) == ("unknown", [])
    assert told["sentence"] == "No epoch was trained whole since this run was resumed."
    train(course, FED, 30)
    told = advising.results(prepared, before, whole=False, course=course)["advice"]
    assert (told["bound"], told["overrides"]) == ("model", [])
    assert told["sentence"].endswith("30 epochs under mode=lazy, inline, since it was resumed.")


def test_what_was_predicted_is_held_against_the_plan_that_it_is_of(
    tmp_path: Path, course: Course
) -> None:
    prepared = prepared_with(tmp_path, *WORDS, "loader=auto", "loader.probe_s=0.2")
    assert prepared.tuned is not None
    assert prepared.tuned.pick.setting == Setting(Mode.lazy, Backend.inline)
    before = [outcome(HALF_FED, 40)]
    told = auto.results(prepared, before, seconds=1.0, whole=True, course=course)["loader"]
    assert told["achieved"] == {"samples_per_s": 30.0, "wait_share": 0.5, "total_s": 1.0}
    train(course, DECODING, 5)
    change(course, TWO)
    train(course, HALF_FED, 30)
    told = auto.results(prepared, before, seconds=1.0, whole=True, course=course)["loader"]
    assert told["achieved"] == {"samples_per_s": 20.0, "wait_share": 0.8, "total_s": None}
    other = Course(course.loader)
    told = auto.results(prepared, before, seconds=1.0, whole=False, course=other)["loader"]
    assert told["achieved"] == dict.fromkeys(("samples_per_s", "wait_share", "total_s"))
