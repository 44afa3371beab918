"""When the plan changes between epochs, what is kept, and what is taken back for good."""

from __future__ import annotations

import pytest

from chirpid.loading.adapt import Adapter, Limits, Seen, propose, seen_in
from chirpid.loading.changes import Shape, shape_of
from chirpid.loading.plan import LoaderPlan
from chirpid.types import Backend
from tests.loading.test_change import INLINE, plan_of

LIMITS = Limits(num_cores=8, max_workers=16, max_batches=100)
ON_CPU = Limits(num_cores=8, max_workers=16, max_batches=100, model_on_cpu=True)
SMALL = Limits(num_cores=8, max_workers=16, max_batches=10)


def threads(num_workers: int, prefetch: int = 2) -> Shape:
    return Shape(Backend.threads, num_workers, prefetch)


def seen(wait: float, busy: float, loading: float, occupancy: float = 0.0) -> Seen:
    return Seen(1000.0, wait, occupancy, busy, loading)


@pytest.mark.parametrize(
    ("what", "now", "limits", "wanted"),
    [
        # A model that waits
        (seen(0.5, 2, 1), threads(1), LIMITS, threads(2)),
        (seen(0.5, 2, 1), Shape(Backend.processes, 8, 2), Limits(16, 16, 100),
         Shape(Backend.processes, 10, 2)),
        (seen(0.5, 2, 1), INLINE, LIMITS, threads(1)),
        (seen(0.04, 2, 1), INLINE, LIMITS, None),
        (seen(0.1, 7.8, 6.9), threads(6), LIMITS, None),  # no core is free
        (seen(0.4, 7.8, 4), threads(4), LIMITS, threads(5)),  # none is busy while it waits
        (seen(0.5, 2, 1), threads(8), LIMITS, None),  # as many as cores
        (seen(0.5, 2, 1), threads(2), Limits(8, 2, 100), None),  # hardware.max_workers
        (seen(0.5, 2, 3.9), threads(4), SMALL, None),  # no memory for more batches
        (seen(0.2, 8, 4, 0.7), threads(8), LIMITS, threads(8, 4)),  # uneven batches
        (seen(0.2, 8, 4, 0.7), threads(8, 16), LIMITS, None),
        (seen(0.2, 8, 7, 0.7), threads(8), LIMITS, None),  # all workers busy
        # A model that is fed
        (seen(0.001, 4, 0.5), threads(6), LIMITS, threads(1)),
        (seen(0.001, 4, 1.5), threads(6), LIMITS, threads(3)),
        (seen(0.001, 4, 4.5), threads(6), LIMITS, None),
        (seen(0.001, 4, 0.1), threads(1), LIMITS, None),
        # A model that shares its cores
        (seen(0.02, 7.8, 4), threads(4), ON_CPU, threads(3)),
        (seen(0.02, 7.8, 4), threads(4), LIMITS, None),
        (seen(0.02, 5, 4), threads(4), ON_CPU, None),
        (seen(0.9, 0.1, 0), Shape(Backend.device, 0, 1), LIMITS, None),
    ],
)  # fmt: skip
def test_what_is_proposed(what: Seen, now: Shape, limits: Limits, wanted: Shape | None) -> None:
    proposal = propose(what, now, limits, set())
    assert (proposal and proposal.shape) == wanted
    if wanted is not None:
        assert propose(what, now, limits, {wanted}) is None, "what was tried does not come back"


def test_the_figures_of_the_monitor_are_read() -> None:
    figures = {
        "loader/samples_per_s": 200.0, "loader/wait_share": 0.3, "loader/occupancy": 0.5,
        "loader/cpu_share": 1.5, "loader/decode_ms_per_sample": 3.0,
        "loader/frontend_ms_per_sample": 2.0, "valid/loss": 1.0,
    }  # fmt: skip
    assert seen_in(figures) == Seen(200.0, 0.3, 0.5, 1.5, 1.0)
    assert seen_in({"valid/loss": 1.0}) is None


class FakeLoader:
    """Takes changes as a loader does, without one's threads."""

    def __init__(self, shape: Shape) -> None:
        self.plan: LoaderPlan | None = plan_of(shape)
        self.dataset = None
        self.lines: list[str] = []

    def change(self, plan: LoaderPlan, why: str, *, dataset: object = None) -> None:
        self.plan = plan
        self.lines.append(why)


def epochs(adapter: Adapter, *rates: float, wait: float = 0.4, seconds: float = 5.0) -> None:
    for rate in rates:
        figures = {"loader/samples_per_s": rate, "loader/wait_share": wait,
                   "loader/cpu_share": 1.0, "loader/decode_ms_per_sample": 1.0,
                   "loader/occupancy": 0.1}  # fmt: skip
        adapter.epoch_done(figures, seconds=seconds, num_batches=50)


def adapter_of(shape: Shape, **more) -> tuple[Adapter, FakeLoader, list[str]]:
    said: list[str] = []
    loader = FakeLoader(shape)
    return Adapter(loader, LIMITS, say=said.append, **more), loader, said


def test_what_helps_is_kept_and_told_and_more_is_tried() -> None:
    adapter, loader, said = adapter_of(threads(1))
    epochs(adapter, 50, 100)
    assert shape_of(loader.plan) == threads(2), "after the second epoch: the first warms up"
    epochs(adapter, 180)
    assert said == ["loader.adapt: num_workers 1 -> 2 brought +80%, 100 -> 180 segments/s"]
    assert shape_of(loader.plan) == threads(3)
    assert loader.lines[-1] == "the model waits 40% of the time and 7.0 of 8 cores are idle"


def test_what_brings_nothing_is_taken_back_and_not_tried_again() -> None:
    adapter, loader, said = adapter_of(threads(1))
    epochs(adapter, 50, 100, 60)
    assert shape_of(loader.plan) == threads(2), "one epoch can be slow for another reason"
    epochs(adapter, 102)
    assert shape_of(loader.plan) == threads(1)
    assert loader.lines[-1] == ("taken back: num_workers 1 -> 2 brought +2%, 100 -> 102 segments/s")
    epochs(adapter, *[100] * 10)
    assert shape_of(loader.plan) == threads(1)
    assert (len(loader.lines), said) == (2, [])


@pytest.mark.parametrize(("rate", "kept"), [(99, True), (90, False)])
def test_fewer_workers_stay_if_they_cost_no_speed(rate: float, kept: bool) -> None:
    adapter, loader, said = adapter_of(threads(6))
    epochs(adapter, 100, 100, rate, rate, wait=0.0)
    assert shape_of(loader.plan) == (threads(1) if kept else threads(6))
    assert (len(loader.lines), len(said)) == ((1, 1) if kept else (2, 0))


def test_short_epochs_say_nothing() -> None:
    adapter, loader, _ = adapter_of(threads(1))
    epochs(adapter, *[100] * 5, seconds=0.5)
    assert loader.lines == []


def test_nothing_grows_once_memory_was_short() -> None:
    adapter, loader, _ = adapter_of(threads(1), may_grow=lambda: False)
    epochs(adapter, *[100] * 5)
    assert loader.lines == []


def test_a_plan_that_another_changed_in_a_trial_is_not_judged() -> None:
    adapter, loader, said = adapter_of(threads(2))
    epochs(adapter, 50, 100)
    assert shape_of(loader.plan) == threads(3)
    loader.plan = plan_of(threads(1, 1))
    epochs(adapter, 20)
    assert said == []
    assert shape_of(loader.plan) == threads(2, 1), "it goes on from there"
