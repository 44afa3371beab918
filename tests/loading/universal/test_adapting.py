"""Plans that change between passes change no batch, and nobody is asked who must not be."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from chirpid.data.general.columns import Columns, Layout, Leaf
from chirpid.loading import adapt
from chirpid.loading.adapt import Adapter
from chirpid.loading.changes import Shape, altered, shape_of
from chirpid.loading.decision import Decision
from chirpid.loading.universal.adapting import PassAdapter, changes_told
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.loader import UniversalLoader
from chirpid.loading.universal.module import UniversalDataModule
from chirpid.types import Backend, IntArray, StartMethod
from tests.anydata import Noisy, Ragged, Squares, Stream, pads
from tests.examples import examples
from tests.loading.universal.test_loader import quiet, same

INLINE = Shape(Backend.inline, 0, 1)
THREADS, MORE_THREADS = Shape(Backend.threads, 1, 2), Shape(Backend.threads, 2, 1)
PROCESS = Shape(Backend.processes, 1, 2)
PROCESSES = Shape(Backend.processes, 2, 3)
ROWS = TensorDataset(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))


class Safe(Squares):
    """May be asked by several threads."""

    thread_safe = True


class SafeNoisy(Noisy):
    """Says that it may, and draws from generators that threads would share."""

    thread_safe = True


class Reader:
    """Writes batches, which is work of its own."""

    layout = Layout((Leaf(torch.float32),))

    def __len__(self) -> int:
        return 50

    def read_into(self, ids: IntArray, out: Columns) -> None:
        out.tensors[0].copy_(torch.from_numpy(ids))


class StuckReader(Reader):
    """Cannot be sent to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class SafeReader(Reader):
    thread_safe = True


class Stuck(Squares):
    """Cannot be sent to another process, and does not bear several threads."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Script(Adapter):
    """Goes from shape to shape, one after each pass that it is told of."""

    def __init__(self, loader: UniversalLoader, *shapes: Shape) -> None:
        self.shapes, self.seconds, self.made = list(shapes), [], loader.loader

    def epoch_done(self, figures: Mapping[str, float], *, seconds: float, num_batches: int) -> None:
        self.seconds.append(seconds)
        if self.shapes:
            plan = altered(self.made.plan, shape := self.shapes.pop(0), "test", "scripted")
            fork = Decision(StartMethod.fork, "test", "scripted")
            self.made.change(replace(plan, start_method=fork), "scripted")
            assert self.made.name is shape.backend


def loader_of(dataset: Any, **more: Any) -> UniversalLoader:
    made = make_loader(dataset, 8, **{"say": quiet, "seed": 3, "start_method": "fork", **more})
    assert isinstance(made, UniversalLoader)
    return made


def scripted(dataset: Any, *shapes: Shape, **more: Any) -> UniversalLoader:
    loader = loader_of(dataset, backend="inline", **more)
    loader.adapter = Script(loader, *shapes)
    return loader


def tell(loader: UniversalLoader, *rates: float, wait: float = 0.5, wait_ms: float = 5.0) -> None:
    """Tell the adapter of passes that took seconds."""
    for rate in rates:
        figures = {
            "loader/samples_per_s": rate, "loader/wait_share": wait, "loader/cpu_share": 0.1,
            "loader/wait_ms_mean": wait_ms, "loader/occupancy": 0.0,
            "loader/item_ms_per_sample": 1.0,
        }  # fmt: skip
        assert loader.adapter is not None
        loader.adapter.epoch_done(figures, seconds=5.0, num_batches=50)


def shape(loader: UniversalLoader) -> Shape:
    assert loader.loader.plan is not None
    assert loader.loader.plan.backend.value is loader.loader.name
    return shape_of(loader.loader.plan)


@settings(max_examples=examples(4))
@given(
    shapes=st.lists(st.sampled_from([INLINE, PROCESS, PROCESSES]), min_size=1, max_size=2),
    kind=st.sampled_from(["draws", "ragged", "columns"]),
)
def test_batches_are_the_same_whatever_is_changed_between_passes(
    shapes: list[Shape], kind: str
) -> None:
    dataset, collate = {
        "draws": (Noisy(), None), "ragged": (Ragged(), pads), "columns": (ROWS, None),
    }[kind]  # fmt: skip
    with loader_of(dataset, collate=collate, backend="inline") as plain:
        wanted = [list(plain) for _ in range(3)]
    with scripted(dataset, *shapes, collate=collate) as loader:
        held = [list(loader) for _ in range(3)]
    assert all(map(same, held, wanted)), "those of the pass before are held, too"


@pytest.mark.parametrize("dataset", [Safe(), ROWS, SafeReader()], ids=type)
def test_threads_make_the_same_batches_after_a_change(dataset: Any) -> None:
    shapes = (THREADS, MORE_THREADS, INLINE)
    with loader_of(dataset, backend="inline") as plain, scripted(dataset, *shapes) as loader:
        for _ in range(4):
            assert same(list(loader), list(plain))
        assert len(loader.loader.changes) == 3


def test_a_pass_that_was_resumed_in_its_midst_goes_on_the_same() -> None:
    with loader_of(Noisy(), backend="inline") as plain:
        wanted = [list(plain) for _ in range(3)]
    with scripted(Noisy(), PROCESS) as first:
        list(first)
        passing = iter(first)
        head = [next(passing) for _ in range(3)]
        state = first.state_dict()
    with scripted(Noisy(), PROCESS, INLINE) as again:
        again.load_state_dict(state)
        assert same([*head, *again], wanted[1])
        assert shape(again) == INLINE, "no whole pass: nothing was told"
        assert same(list(again), wanted[2])
        assert shape(again) == PROCESS


def test_only_whole_passes_are_told_of() -> None:
    with scripted(Squares()) as loader:
        next(iter(loader))
        list(loader)
        loader.load_state_dict({**loader.state_dict(), "batch": 2})
        list(loader)
        assert len(loader.adapter.seconds) == 1
        assert loader.adapter.seconds[0] > 0


def test_a_pass_whose_end_nobody_asks_for_is_told_of_before_the_next() -> None:
    with loader_of(Noisy(), backend="inline") as plain:
        wanted = [list(plain) for _ in range(3)]
    with scripted(Noisy(), PROCESS, INLINE) as loader:
        left = iter(loader)
        assert same([next(left) for _ in range(len(loader))], wanted[0])
        assert shape(loader) == INLINE
        passing = iter(loader)
        second = [next(passing)]
        assert shape(loader) == PROCESS
        del left
        assert same([*second, *passing], wanted[1])
        assert same(list(loader), wanted[2])
        assert len(loader.adapter.seconds) == 3


@pytest.mark.parametrize("dataset", [Safe(), ROWS, SafeReader()], ids=type)
def test_who_may_be_asked_by_threads_gets_one_beside_the_model(dataset: Any) -> None:
    with loader_of(dataset, adapt=True) as loader:
        assert shape(loader) == INLINE
        tell(loader, 50, 100)
        assert shape(loader) == THREADS


@pytest.mark.parametrize("dataset", [Squares(), SafeNoisy(), Reader()], ids=type)
def test_who_may_not_gets_a_process(dataset: Any) -> None:
    with loader_of(dataset, adapt=True) as loader, loader_of(dataset, backend="inline") as plain:
        tell(loader, 50, 100)
        assert shape(loader) == PROCESS
        assert same(list(loader), list(plain))
        tell(loader, 100, 100)
        assert shape(loader) == INLINE, "it brought nothing"
        assert loader.loader.changes[-1].endswith(
            "taken back: num_workers 0 -> 1 brought +0%, 100 -> 100 samples/s"
        )
        tell(loader, *[100] * 5)
        assert shape(loader) == INLINE, "and is not tried again"


def test_draws_that_show_after_a_while_keep_threads_away() -> None:
    with loader_of(Safe(), adapt=True) as loader:
        loader.adapted.source.draws = True
        tell(loader, 50, 100)
        assert shape(loader) == PROCESS


@pytest.mark.parametrize("dataset", [Stuck(), StuckReader()], ids=type)
def test_who_cannot_be_sent_to_a_process_stays_where_it_is(dataset: Any) -> None:
    said: list[str] = []
    with loader_of(dataset, adapt=True, start_method="spawn", say=said.append) as loader:
        tell(loader, *[100] * 6)
        assert shape(loader) == INLINE
        assert len(list(loader)) == 7
    assert sum("cannot start" in line for line in said) == 1


def test_a_process_is_not_started_for_batches_that_are_made_as_soon_as_handed_over() -> None:
    with loader_of(Squares(), adapt=True) as loader:
        tell(loader, *[100] * 4, wait_ms=0.5)
        assert shape(loader) == INLINE


@pytest.mark.parametrize("named", [{"backend": "inline"}, {"num_workers": 0}, {"loader": "safe"}])
def test_the_calling_thread_stays_where_the_user_asked_for_it(named: dict[str, Any]) -> None:
    with loader_of(Safe(), adapt=True, **named) as loader:
        tell(loader, *[100] * 4)
        assert shape(loader) == INLINE


def test_threads_that_the_user_gave_a_dataset_that_promises_nothing_become_no_more() -> None:
    with loader_of(Squares(), adapt=True, backend="threads", num_workers=1) as loader:
        tell(loader, *[100] * 4)
        assert shape(loader).num_workers == 1


def test_no_more_is_in_flight_than_the_budget_of_the_plan_has_room_for() -> None:
    with loader_of(Safe(), adapt=True) as loader:
        plan, limits = loader.loader.plan, loader.adapter.limits
        assert 0 < limits.max_batches * plan.batch_bytes <= plan.budget_bytes
        assert (limits.max_batches + 1) * plan.batch_bytes > plan.budget_bytes


def test_after_memory_was_short_nothing_grows() -> None:
    with loader_of(Safe(), adapt=True) as loader:
        loader.loader.guard.has_stepped = True
        tell(loader, *[100] * 4)
        assert shape(loader) == INLINE


def test_changes_and_what_they_brought_are_told() -> None:
    said: list[str] = []
    with loader_of(Safe(), adapt=True, say=said.append) as loader:
        assert changes_told(loader) == ["  adapt: nothing was changed so far"]
        tell(loader, 50, 100, 180)
        _, changed, brought, *_ = said  # the first is of the start method that was asked for
        assert changed.endswith("the model waits 50% of the time: a thread can fetch beside it")
        assert brought.endswith("brought +80%, 100 -> 180 samples/s")
        told = changes_told(loader)
        assert told[0] == "changed while it ran:"
        assert told[1:] == [f"  {line}" for line in (*loader.loader.changes, brought)]
    with loader_of(Safe()) as plain:
        assert (plain.adapter, changes_told(plain)) == (None, [])


def test_the_figures_of_real_passes_change_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt, "MIN_EPOCH_S", 0.0)  # so that the test is quick
    with loader_of(TensorDataset(torch.zeros(200, 50)), adapt=True) as loader:
        list(loader)
        list(loader)  # which does nothing with the batches, and so waits all the time
        assert shape(loader) == THREADS


def test_data_modules_pass_it_on() -> None:
    with UniversalDataModule(Squares(), adapt=True, batch_size=8, say=quiet) as module:
        assert isinstance(module.train_dataloader().loader.adapter, PassAdapter)


def test_of_a_stream_it_is_said_that_nothing_is_changed() -> None:
    said: list[str] = []
    make_loader(Stream(), adapt=True, say=said.append)
    assert [line for line in said if line.startswith("adapt true -> false: a stream")] == said
