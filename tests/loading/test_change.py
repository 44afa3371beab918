"""A change of the plan in the midst of a pass changes no batch, and leaves nothing behind."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.data.order import batches_of
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.changes import Shape, altered, difference, shape_of
from chirpid.loading.factory import Loader, make_loader
from chirpid.loading.plan import Decision, LoaderPlan
from chirpid.types import Backend, IntArray, Keep, Mode, StartMethod, StoreDtype
from tests.examples import examples
from tests.sounds import write_set
from tests.workbench import dataset_of, maker_of, segments_of

CPU = torch.device("cpu")
NUM = 60
SPEC = RowSpec(Keep.waveform, StoreDtype.int16, (8,))
INLINE = Shape(Backend.inline, 0, 1)


def rows_dataset() -> TensorDataset:
    rows = torch.arange(NUM, dtype=torch.int16)[:, None].repeat(1, 8) * 100
    return TensorDataset(SPEC, rows, Mode.eager)


def plan_of(shape: Shape) -> LoaderPlan:
    def given_as(value):
        return Decision(value, "override", "a test")

    return LoaderPlan(
        backend=given_as(shape.backend),
        num_workers=given_as(shape.num_workers),
        prefetch=given_as(shape.prefetch),
        pin_memory=given_as(False),
        persistent_workers=given_as(True),
        start_method=given_as(StartMethod.fork),
        batch_bytes=1000,
        total_bytes=shape.num_batches * 1000,
    )


def loader_of(shape: Shape, say=None) -> Loader:
    return make_loader(rows_dataset(), plan_of(shape), device=CPU, say=say)


def expected(ids: IntArray) -> torch.Tensor:
    return (
        torch.from_numpy(ids.copy())[:, None].float().expand(-1, 8) * 100 * torch.tensor(1 / 32767)
    )


def check(loader: Loader, batches: list[IntArray], changes: dict[int, Shape]) -> None:
    """Run a pass with changes before some batches; all are right when they come and stay so."""
    held: list[tuple[IntArray, torch.Tensor]] = []
    for turn, batch in enumerate(loader.run(batches)):
        assert np.array_equal(batch.ids, batches[turn])
        held = [*held[-1:], (batch.ids, batch.inputs)]
        if turn in changes:
            loader.change(plan_of(changes[turn]), "a test")
        for ids, inputs in held:
            assert torch.equal(inputs, expected(ids)), "as it came, after a change too"
    assert turn == len(batches) - 1


workers = st.builds(Shape, st.just(Backend.threads), st.integers(1, 3), st.integers(1, 3))
shapes = st.one_of(st.just(INLINE), st.just(Shape(Backend.device, 0, 1)), workers)


@settings(deadline=None)
@given(
    first=shapes,
    changes=st.dictionaries(st.integers(0, 20), shapes, max_size=4),
    size=st.integers(1, 7),
)
def test_changes_at_any_batch_give_the_same_batches(
    first: Shape, changes: dict[int, Shape], size: int
) -> None:
    loader = loader_of(first)
    ids = np.random.default_rng(0).permutation(NUM)
    check(loader, batches_of(ids, size), changes)
    check(loader, batches_of(ids[::-1], size), {})
    loader.close()


@settings(max_examples=examples(6), deadline=None)
@given(
    turns=st.lists(st.integers(0, 14), min_size=3, max_size=3, unique=True),
    order=st.permutations([INLINE, Shape(Backend.processes, 2, 2), Shape(Backend.threads, 2, 1)]),
    last=st.builds(Shape, st.just(Backend.processes), st.integers(1, 2), st.integers(1, 3)),
)
def test_changes_to_and_from_worker_processes_give_the_same_batches(
    turns: list[int], order: list[Shape], last: Shape
) -> None:
    loader = loader_of(last)
    check(loader, batches_of(np.arange(NUM)[::-1], 4), dict(zip(turns, order, strict=True)))
    loader.close()


def resources() -> tuple[int, int, int]:
    """Open files, threads, and child processes that live."""
    me = psutil.Process()
    return me.num_fds(), threading.active_count(), len(me.children())


def test_changes_leave_no_file_thread_or_process_behind() -> None:
    loader = loader_of(INLINE)
    batches = batches_of(np.arange(NUM), 4)
    round_trip = [Shape(Backend.processes, 2, 1), Shape(Backend.threads, 3, 2), INLINE]
    check(loader, batches, dict(enumerate(round_trip)))
    before = resources()
    for _ in range(3):
        check(loader, batches, dict(enumerate(round_trip)))
        assert resources() == before
    loader.change(plan_of(Shape(Backend.processes, 2, 1)), "between two passes")
    assert resources()[2] == before[2] + 2, "persistent workers start at once"
    loader.change(plan_of(INLINE), "back")
    assert resources() == before
    loader.close()


def test_a_pass_that_was_left_does_not_go_on_in_another_backend() -> None:
    loader = loader_of(Shape(Backend.threads, 1, 1))
    batches = batches_of(np.arange(NUM), 4)
    left = loader.run(batches)
    next(left)
    going = loader.run(batches)
    next(going)
    loader.change(plan_of(INLINE), "a test")
    assert [len(batch) for batch in going] == [4] * (len(batches) - 1)
    with pytest.raises(AssertionError, match="another pass has begun"):
        next(left)
    loader.close()


def test_a_change_is_told_in_one_line_and_kept() -> None:
    said: list[str] = []
    loader = loader_of(Shape(Backend.threads, 1, 4), said.append)
    loader.change(plan_of(Shape(Backend.threads, 2, 2)), "a test wants it")
    line = "loader: num_workers 1 -> 2, prefetch 4 -> 2: a test wants it"
    assert said == loader.changes == [line]
    assert loader.plan == plan_of(Shape(Backend.threads, 2, 2))
    loader.close()


def test_rows_kept_in_another_way_replace_those_in_ram() -> None:
    loader = loader_of(Shape(Backend.threads, 2, 1))
    before = loader.dataset
    batches = batches_of(np.arange(NUM), 4)
    elsewhere = TensorDataset(SPEC, rows_dataset().rows, Mode.cached)
    got = []
    for turn, batch in enumerate(loader.run(batches)):
        got.append(batch.inputs.clone())
        if turn == 3:
            loader.change(plan_of(INLINE), "a test", dataset=elsewhere)
            assert torch.equal(batch.inputs, got[-1]), "the batch in hand does not need the rows"
    assert torch.equal(torch.cat(got), expected(np.arange(NUM)))
    assert len(before.rows) == 0, "the rows in RAM are released"
    assert loader.changes == ["loader: mode eager -> cached, backend threads -> inline, "
                              "num_workers 2 -> 0: a test"]  # fmt: skip
    loader.close()


def test_threads_that_cannot_start_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    said: list[str] = []
    loader = loader_of(INLINE, said.append)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        loader.change(plan_of(Shape(Backend.threads, 2, 2)), "a test")
    assert loader.name is Backend.inline
    assert said[0] == "backend threads -> inline: can't start new thread"
    check(loader, batches_of(np.arange(NUM), 8), {})
    loader.close()


def test_an_altered_plan_says_who_changed_what() -> None:
    plan = plan_of(Shape(Backend.threads, 4, 4))
    shape = Shape(Backend.threads, 4, 1)
    changed = altered(plan, shape, "memory.guard", "12.0 MiB are left")
    assert shape_of(changed) == shape
    assert changed.prefetch == Decision(1, "memory.guard", "12.0 MiB are left")
    assert changed.num_workers is plan.num_workers
    assert changed.total_bytes == plan.total_bytes - 12 * plan.batch_bytes
    assert difference(shape_of(plan), shape) == "prefetch 4 -> 1"
    assert difference(shape, shape) == ""
    assert replace(changed, prefetch=plan.prefetch, total_bytes=plan.total_bytes) == plan


@pytest.mark.parametrize("mode", list(Mode))
def test_every_mode_goes_on_after_changes(mode: Mode, tmp_path: Path) -> None:
    segments = segments_of(write_set(tmp_path / "set"))
    plain = InlineBackend(dataset_of(mode, maker_of(segments), tmp_path / "cache"))
    batches = batches_of(np.arange(len(segments))[::-1], 3)
    wanted = [batch.inputs.clone() for batch in plain.run(batches)]
    dataset = dataset_of(mode, maker_of(segments), tmp_path / "cache")
    loader = make_loader(dataset, plan_of(Shape(Backend.threads, 2, 2)), device=CPU)
    told: list[int] = []
    for turn, batch in enumerate(loader.run(batches)):
        assert torch.equal(batch.inputs, wanted[turn])
        told.append(len(batch))
        if turn % 2:
            loader.change(plan_of([INLINE, Shape(Backend.threads, 2, 1)][turn % 4 == 1]), "a test")
    assert told == [len(batch) for batch in batches]
    loader.close()
