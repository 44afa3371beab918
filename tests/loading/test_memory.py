"""What is given up when memory runs short, in which order, and that no batch changes by it."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
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
from chirpid.loading.hardware import GIB, process_memory_free
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


def proc(folder: Path, *, available_mib: int, rss_mib: int = 300, peak_mib: int = 300) -> Path:
    (folder / "self").mkdir(parents=True, exist_ok=True)
    (folder / "meminfo").write_text(
        f"MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable: {available_mib * 1024} kB\n"
    )
    (folder / "self" / "status").write_text(
        f"Name:\tpython\nVmPeak:\t{peak_mib * 2048} kB\nVmSize:\t{rss_mib * 2048} kB\n"
        f"VmHWM:\t{peak_mib * 1024} kB\nVmRSS:\t{rss_mib * 1024} kB\nVmData:\t1024 kB\n"
    )
    return folder


def group(folder: Path, version: int, *, limit_mib: int, used_mib: int, files_mib: int) -> None:
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
             2: ("memory.max", "memory.current", "")}[version]  # fmt: skip
    where = folder / "memory" if version == 1 else folder
    where.mkdir(parents=True, exist_ok=True)
    (where / names[0]).write_text(f"{limit_mib * MIB}\n")
    (where / names[1]).write_text(f"{used_mib * MIB}\n")
    plain = "inactive_file 7\nactive_file 7\n" if version == 1 else ""
    (where / "memory.stat").write_text(
        f"anon 5\n{plain}{names[2]}inactive_file {files_mib * MIB}\n{names[2]}active_file 0\n"
    )


def probe_of(tmp_path: Path) -> MemoryProbe:
    return MemoryProbe(
        proc=tmp_path / "proc", cgroups=tmp_path / "groups", own=tmp_path / "proc/self/cgroup"
    )


def test_without_limits_the_machine_counts(tmp_path: Path) -> None:
    proc(tmp_path / "proc", available_mib=4096)
    room = probe_of(tmp_path).look()
    assert room == Room(4096 * MIB, 16 * GIB)
    assert room.text == "4.0 GiB of the machine's 16.0 GiB are left"
    assert room.reserve_bytes == 16 * GIB // 20


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("used_mib", "files_mib", "free_mib"),
    [(100, 50, 412), (500, 0, 12), (500, 300, 312)],
    ids=["far", "near", "near with pages of files"],
)
def test_a_container_counts_before_the_machine(
    tmp_path: Path, version: int, used_mib: int, files_mib: int, free_mib: int
) -> None:
    proc(tmp_path / "proc", available_mib=4096)
    group(tmp_path / "groups", version, limit_mib=512, used_mib=used_mib, files_mib=files_mib)
    room = probe_of(tmp_path).look()
    assert room == Room(free_mib * MIB, 512 * MIB, "the container's")
    assert (room.missing_bytes > 0) is (free_mib < 64)


def test_what_a_step_takes_and_gives_back_is_counted_as_taken(tmp_path: Path) -> None:
    folder = proc(tmp_path / "proc", available_mib=4096, rss_mib=300, peak_mib=900)
    probe = probe_of(tmp_path)
    assert probe.look().free_bytes == 4096 * MIB, "what loading the rows took is of the past"
    proc(folder, available_mib=4096, rss_mib=400, peak_mib=1000)
    assert probe.look().free_bytes == (4096 - 600) * MIB
    proc(folder, available_mib=4000, rss_mib=500, peak_mib=1000)
    assert probe.look().free_bytes == (4000 - 600) * MIB, "it will be taken again"


class TestUnderLimits:
    """In a process of its own: a limit that was lowered is not raised again."""

    def run(self, code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def test_limits_of_the_process_are_seen(self) -> None:
        assert process_memory_free() is None or resource.getrlimit(resource.RLIMIT_AS)[0] > 0
        code = """
import resource
from chirpid.loading.hardware import process_memory_free, read_machine
from chirpid.loading.room import MIB, MemoryProbe
probe = MemoryProbe()
for kind, name in ((resource.RLIMIT_DATA, "the data segment's"),
                   (resource.RLIMIT_AS, "the address space's")):
    assert process_memory_free() is None
    limit = 50 * 1024 * MIB if kind == resource.RLIMIT_AS else 3 * 1024 * MIB
    resource.setrlimit(kind, (limit, resource.RLIM_INFINITY))
    free = process_memory_free()
    assert 0 < free < limit and read_machine("cpu").free_bytes <= free
    rooms = [probe.look()] if kind == resource.RLIMIT_DATA else []
    for room in rooms:
        assert room.whose == name and room.is_address_space, room
        assert abs(room.free_bytes - free) < 64 * MIB, (room.free_bytes, free)
    resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("seen")
"""
        assert self.run(code) == "seen"
