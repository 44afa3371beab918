"""What is given up when memory runs short, in which order, and that no batch changes by it."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from chirpid.data.datasets import TensorDataset
from chirpid.data.order import batches_of
from chirpid.errors import BudgetError, DataError, TrainingError
from chirpid.loading import memory
from chirpid.loading.backends import shared
from chirpid.loading.changes import Shape, shape_of
from chirpid.loading.factory import Loader, make_loader
from chirpid.loading.hardware import GIB
from chirpid.loading.memory import (
    MemoryGuard,
    State,
    Step,
    StepKind,
    is_out_of_memory,
    next_step,
)
from chirpid.loading.room import MIB, MemoryProbe, Room, fall_per_s
from chirpid.types import Backend, Mode
from tests.loading.test_change import INLINE, NUM, SPEC, expected, plan_of, rows_dataset

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _look_after_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOOK_SHARE", float("inf"))


def threads(num_workers: int, prefetch: int) -> Shape:
    return Shape(Backend.threads, num_workers, prefetch)


def state(shape: Shape, missing_mib: float, rows_mib: int = 0, **more: bool) -> State:
    return State(shape, 4 * MIB, int(missing_mib * MIB), rows_mib * MIB, **more)


@pytest.mark.parametrize(
    ("given", "kind", "shape", "frees_mib"),
    [
        (state(threads(4, 4), 0), None, None, 0),
        (state(threads(4, 4), -5), None, None, 0),
        (state(threads(4, 4), 30), "prefetch", threads(4, 2), 32),
        (state(threads(4, 4), 33), "prefetch", threads(4, 1), 48),
        (state(threads(4, 4), 900, 500), "prefetch", threads(4, 1), 48),
        (state(threads(4, 1), 8), "workers", threads(2, 1), 8),
        (state(threads(4, 1), 9), "workers", threads(1, 1), 12),
        (state(threads(3, 1), 1), "workers", threads(1, 1), 8),
        (state(threads(1, 1), 1, 500), "cached", threads(1, 1), 500),
        (state(INLINE, 1, 500), "cached", INLINE, 500),
        (state(threads(1, 1), 1), "inline", INLINE, 4),
        (state(Shape(Backend.processes, 1, 1), 1), "inline", INLINE, 4),
        (state(INLINE, 1), None, None, 0),
        (state(Shape(Backend.device, 0, 1), 1), None, None, 0),
        (state(Shape(Backend.device, 0, 1), 1, device_failed=True), "inline", INLINE, 0),
        (state(threads(2, 2), 1, device_failed=True), None, None, 0),
    ],
)
def test_the_next_step(given: State, kind: str | None, shape: Shape, frees_mib: int) -> None:
    wanted = None if kind is None else Step(StepKind(kind), shape, frees_mib * MIB)
    assert next_step(given) == wanted


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (np._core._exceptions._ArrayMemoryError((1 << 50,), np.dtype("u1")), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate "
                      "memory: you tried to allocate 8 bytes."), True),
        (OSError(12, "Cannot allocate memory"), True),
        (BudgetError("Batches from worker processes need 4.0 GiB of shared memory."), True),
        (TrainingError("A batch could not be made in a loader worker: MemoryError: "), True),
        (TrainingError("The loader workers do not go on."), False),
        (DataError("MemoryError.wav cannot be decoded."), False),
        (RuntimeError("shape mismatch"), False),
        (IndexError(), False),
    ],
)  # fmt: skip
def test_what_counts_as_out_of_memory(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


def test_a_real_allocation_that_torch_cannot_make_counts() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


class Told(MemoryProbe):
    """A probe of what a test says is free, look by look; the last figure stays."""

    def __init__(self, *free_mib: float) -> None:
        self.free_mib, self.reusable_bytes = list(free_mib), 0

    def look(self) -> Room:
        free = self.free_mib.pop(0) if len(self.free_mib) > 1 else self.free_mib[0]
        return Room(int(free * MIB), GIB, "the container's")

    def settle(self) -> None:
        """Nothing swings here."""


def guarded(shape: Shape, probe: MemoryProbe, dataset=None, **more) -> tuple[Loader, list[str]]:
    said: list[str] = []
    guard = MemoryGuard(probe=probe, say=said.append, every_s=0, **more)
    dataset = dataset or rows_dataset()
    loader = make_loader(dataset, plan_of(shape), device=CPU, say=said.append, guard=guard)
    return loader, said


def check(loader: Loader, num_passes: int = 1) -> None:
    ids = np.arange(NUM)[::-1].copy()
    for _ in range(num_passes):
        rows = torch.cat([batch.inputs.clone() for batch in loader.run(batches_of(ids, 4))])
        assert torch.equal(rows, expected(ids))


def on_disk(rows: TensorDataset, address_space: bool) -> TensorDataset:
    return TensorDataset(SPEC, rows.rows.clone(), Mode.cached)


def test_pressure_steps_down_to_the_least_and_changes_no_batch() -> None:
    loader, said = guarded(threads(4, 4), Told(500, 20), fallback=on_disk)
    check(loader, num_passes=2)
    assert loader.plan is not None
    assert shape_of(loader.plan) == INLINE
    assert loader.dataset.mode is Mode.cached
    short = "20.0 MiB of the container's 1.0 GiB are left"
    assert said == [
        f"loader: prefetch 4 -> 1: {short}; frees 0.0 MiB",
        f"loader: num_workers 4 -> 1: {short}; frees 0.0 MiB",
        f"memory: {short}: the rows go from RAM to the disk",
        "loader: mode eager -> cached: frees 0.0 MiB",
        f"loader: backend threads -> inline, num_workers 1 -> 0: {short}; frees 0.0 MiB",
        f"memory: {short}, and loading holds no more than it must. If it goes on, lower "
        "loader.batch_size, use a smaller model or give the process more",
    ]
    loader.close()


def test_enough_room_changes_nothing() -> None:
    loader, said = guarded(threads(2, 2), Told(64))
    check(loader)
    assert said == []
    loader.close()


def test_a_step_that_was_enough_is_the_only_one() -> None:
    loader, said = guarded(threads(2, 2), Told(63.9, 80))
    check(loader)
    assert len(said) == 1
    assert said[0].startswith("loader: prefetch 2 -> 1: 63.9 MiB")
    loader.close()


def test_rows_that_cannot_go_to_the_disk_stay_and_that_is_said_once() -> None:
    def refuse(rows: TensorDataset, address_space: bool) -> TensorDataset:
        raise BudgetError("The disk is full.")

    loader, said = guarded(INLINE, Told(20), fallback=refuse)
    check(loader, num_passes=2)
    assert loader.dataset.mode is Mode.eager
    assert said[0].startswith("memory: ")
    assert said[1] == (
        "loader: mode eager stays, although 20.0 MiB of the container's 1.0 GiB are left: "
        "The disk is full."
    )
    assert len(said) == 3, "and that nothing is left"
    loader.close()


class Hungry(TensorDataset):
    """Fails so many times to make the batch of segment 31, for want of memory."""

    def __init__(self, num_failures: int, error: type[Exception] = MemoryError) -> None:
        super().__init__(SPEC, rows_dataset().rows, Mode.cached)
        self.num_failures, self.error = num_failures, error

    def fetch(self, ids, out=None):
        if 31 in ids and self.num_failures:
            self.num_failures -= 1
            raise self.error()
        return super().fetch(ids, out)


@pytest.mark.parametrize("num_failures", [1, 2])
def test_a_batch_that_failed_for_want_of_memory_is_made_again(num_failures: int) -> None:
    loader, said = guarded(threads(1, 2), Told(500), Hungry(num_failures))
    check(loader)
    begins = ["loader: prefetch 2 -> 1: ", "loader: backend threads -> inline, num_workers 1 -> 0"]
    assert len(said) == num_failures
    for line, begin in zip(said, begins, strict=False):
        assert line.startswith(begin)
        assert "memory ran out while a batch was made; 500.0 MiB of the container's" in line
    loader.close()


def test_with_nothing_left_to_give_up_the_error_says_what_to_do() -> None:
    loader, said = guarded(INLINE, Told(500), Hungry(1))
    with pytest.raises(TrainingError) as caught:
        check(loader)
    assert caught.value.line() == (
        "training error: Memory ran out while a batch was made, and loading holds no more than it "
        "must: 500.0 MiB of the container's 1.0 GiB are left. Lower loader.batch_size or use a "
        "smaller model, give the process more, or end other programs; resume=auto goes on from "
        "the last checkpoint."
    )
    assert said == []
    loader.close()


def test_other_errors_pass_and_cost_nothing() -> None:
    loader, said = guarded(threads(2, 2), Told(500), Hungry(1, ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        check(loader)
    assert said == []
    loader.close()


def test_a_gpu_without_room_for_a_batch_gives_the_set_back() -> None:
    loader, said = guarded(Shape(Backend.device, 0, 1), Told(500))
    loader.backend._spec = None  # what fails is not looked at, but how it fails is

    def fail(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    loader.backend._ids_there = fail
    check(loader)
    assert loader.name is Backend.inline
    assert len(said) == 1
    assert said[0].startswith("loader: backend device -> inline: the GPU's memory ran out")
    loader.close()


def looks(*free_mib: float, whose: str = "the container's") -> list[tuple[float, Room]]:
    return [(0.5 * n, Room(int(f * MIB), GIB, whose)) for n, f in enumerate(free_mib)]


@pytest.mark.parametrize(
    ("seen", "mib_per_s"),
    [
        (looks(), 0),
        (looks(500, 400), 0),
        (looks(500, 400, 300), 200),
        (looks(900, 500, 400, 390), 20),  # the slower of the last two
        (looks(500, 500, 100), 0),  # one large allocation
        (looks(500, 100, 120), 0),
        (looks(300, 400, 500), 0),
        ([*looks(500, 400), (1.0, Room(300 * MIB, GIB, "the machine's"))], 0),
    ],
)
def test_a_fall_counts_if_it_goes_on(seen: list[tuple[float, Room]], mib_per_s: float) -> None:
    assert fall_per_s(seen) == pytest.approx(mib_per_s * MIB)


def test_a_fall_is_met_before_its_end() -> None:
    """Memory that is gone in the time that rows take to the disk is short already."""
    times = iter(np.arange(0, 100, 0.25).tolist())
    loader, said = guarded(INLINE, Told(900, 900, 840, 780, 720), fallback=on_disk)
    with pytest.MonkeyPatch.context() as patched:
        # Two calls a look, so that looks are half a second apart.
        clock = SimpleNamespace(perf_counter=lambda: next(times), monotonic=time.monotonic)
        patched.setattr(memory, "time", clock)
        patched.setattr(memory, "WRITE_PER_S", NUM * 16 / 6.0)
        check(loader)
    assert said[0] == (
        "memory: 780.0 MiB of the container's 1.0 GiB are left, 120.0 MiB fewer each second: the "
        "rows go from RAM to the disk"
    )
    loader.close()


def test_a_ring_that_shared_memory_has_no_room_for_is_made_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Room for the six slots of two pages that prefetch 1 takes and the rest, not for 18."""
    little = SimpleNamespace(free_bytes=72 * 1024)
    monkeypatch.setattr(shared, "read_machine", lambda device: little)
    loader, said = guarded(Shape(Backend.processes, 2, 8), Told(500))
    check(loader)
    assert loader.name is Backend.processes
    assert len(said) == 1
    assert said[0].startswith("loader: prefetch 8 -> 1: memory ran out while a batch was made")
    loader.close()


# What the system tells
