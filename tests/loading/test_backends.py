"""Backends under stress: deaths, errors, abandoned passes, leaks, odd ids, slow devices."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from chirpid.data.datasets import BatchDataset, TensorDataset
from chirpid.data.general.source import ReaderSource
from chirpid.data.kept import RowSpec
from chirpid.data.order import batches_of
from chirpid.data.wrap import VectorizedDataset
from chirpid.errors import ChirpError, DataError
from chirpid.loading.backends.base import Fences, Ring
from chirpid.loading.backends.device import DeviceBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.processes import ProcessesBackend, workers_can_start
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.types import Keep, Mode, StartMethod, StoreDtype

NUM = 40
BACKENDS = ("inline", "threads", "processes")


class OddError(DataError):
    """An error that takes more than a message, as some do: it cannot be unpickled as it is."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name} {reason}.")


class Rows(BatchDataset):
    """A dataset of rows that hold their id; id 13 can be bad."""

    mode = Mode.lazy
    spec = RowSpec(Keep.waveform, StoreDtype.float32, (16,))
    num_segments = NUM

    def __init__(self, *, bad: bool = False, seconds: float = 0.0, die_at: int = -1) -> None:
        self.bad, self.seconds, self.die_at = bad, seconds, die_at

    def fetch(self, ids, out=None):
        time.sleep(self.seconds)
        if self.bad and 13 in ids:
            raise OddError(Path("13.wav"), "cannot be decoded")
        if self.die_at in ids:
            os.kill(os.getpid(), signal.SIGKILL)
        batch = torch.empty(len(ids), 16) if out is None else out[: len(ids)]
        batch[:] = torch.from_numpy(ids)[:, None]
        return batch, {"read": self.seconds}

    def close(self) -> None:
        """Nothing to release."""


def backend_of(name: str, dataset: Rows, **more):
    if name == "inline":
        return InlineBackend(dataset)
    settings = {"num_workers": 2, "prefetch": 2, **more}
    if name == "threads":
        return ThreadsBackend(dataset, **settings)
    return ProcessesBackend(dataset, start_method=StartMethod.fork, **settings)


def first_values(backend, batches) -> list[list[float]]:
    return [batch.inputs[:, 0].tolist() for batch in backend.run(batches)]


def child_pids() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.mark.parametrize("name", BACKENDS)
def test_an_error_in_fetch_is_the_same_line_from_every_backend(name: str) -> None:
    backend = backend_of(name, Rows(bad=True))
    batches = batches_of(np.arange(NUM), 4)
    try:
        for _ in range(2):  # and the pass after it works as if nothing had been
            got = []
            with pytest.raises(ChirpError) as caught:
                got.extend(batch.ids[0] for batch in backend.run(batches))
            assert caught.value.line() == "data error: 13.wav cannot be decoded."
            assert isinstance(caught.value, DataError)
            assert got == [0, 4, 8], "what came before the bad batch is delivered"
            assert first_values(backend, batches[5:]) == [list(b) for b in batches[5:]]
    finally:
        backend.close()


@pytest.mark.parametrize("name", BACKENDS)
def test_odd_batches_are_delivered_as_asked(name: str) -> None:
    backend = backend_of(name, Rows())
    ids = np.arange(NUM)
    read_only = ids[3:6].copy()
    read_only.flags.writeable = False
    odd = [ids[::-3], ids[:0], read_only, ids[:4].astype(np.int32), np.array([7, 7, 7]), ids]
    try:
        assert first_values(backend, odd) == [list(batch) for batch in odd]
        assert first_values(backend, []) == []
        assert [b.ids.dtype for b in backend.run(odd)] == [np.int64] * len(odd)
    finally:
        backend.close()


def test_the_device_backend_takes_odd_batches_too() -> None:
    spec = RowSpec(Keep.spectrogram, StoreDtype.float16, (1,))
    held = TensorDataset(spec, torch.arange(NUM)[:, None].half(), Mode.eager)
    backend = DeviceBackend(held, torch.device("cpu"))
    odd = [np.arange(NUM)[::-1], np.arange(0), np.array([5, 5])]
    assert first_values(backend, odd) == [list(batch) for batch in odd]
    backend.close()


EMPTY = np.empty(0, np.int64)


@pytest.mark.parametrize("kind", ["lazy", "held"])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_pass_may_have_empty_batches_only(name: str, kind: str) -> None:
    backend = backend_of(name, Rows() if kind == "lazy" else held_rows())
    try:
        for sizes in ([0, 0, 0], [], [0], [0, 2, 0], [0, 0]):
            found = list(backend.run([np.arange(size) if size else EMPTY for size in sizes]))
            assert [tuple(batch.inputs.shape) for batch in found] == [(n, 16) for n in sizes]
    finally:
        backend.close()


def held_rows() -> TensorDataset:
    rows = torch.arange(NUM)[:, None].float().repeat(1, 16)
    return TensorDataset(Rows.spec, rows, Mode.eager)


def test_the_device_backend_may_have_empty_batches_only() -> None:
    backend = DeviceBackend(held_rows(), torch.device("cpu"))
    assert [tuple(batch.inputs.shape) for batch in backend.run([EMPTY] * 2)] == [(0, 16)] * 2
    backend.close()


@pytest.mark.parametrize("name", BACKENDS)
def test_nothing_grows_over_two_thousand_epochs(name: str) -> None:
    backend = backend_of(name, Rows())
    batches = batches_of(np.arange(12), 4)
    me = psutil.Process()

    def held() -> tuple[int, int, list[int], list[int]]:
        gc.collect()  # what earlier tests left to it is not ours
        children = [psutil.Process(pid) for pid in sorted(child_pids())]
        fds = [me.num_fds(), *(child.num_fds() for child in children)]
        return threading.active_count(), len(children), fds, [c.num_threads() for c in children]

    def all_bytes() -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in [me.pid, *child_pids()])

    try:
        for _ in range(100):
            list(backend.run(batches))
        before, bytes_before = held(), all_bytes()
        for number in range(2000):
            passing = backend.run(batches)
            next(passing)
            if number % 3:  # every third pass is left after its first batch
                list(passing)
        assert held() == before
        assert all_bytes() - bytes_before < 2**22
    finally:
        backend.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BACKENDS)
def test_closing_in_the_middle_leaves_no_thread_and_no_process(name: str) -> None:
    threads, children = set(threading.enumerate()), child_pids()
    backend = backend_of(name, Rows(seconds=0.01))
    passing = backend.run(batches_of(np.arange(NUM), 1))
    for _ in range(3):
        next(passing)
    passing.close()  # what leaving a loop by Ctrl-C does
    backend.close()
    backend.close()
    assert set(threading.enumerate()) <= threads
    assert child_pids() <= children


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_a_pass_left_behind_does_not_write_into_the_next(name: str) -> None:
    backend = backend_of(name, Rows(seconds=0.005), num_workers=3, prefetch=3)
    batches = batches_of(np.arange(NUM), 2)
    left = []
    try:
        for _ in range(4):
            passing = backend.run(batches)
            next(passing)
            left.append(passing)  # neither ended nor closed, as after an error held by a debugger
            backwards = batches[::-1]
            assert first_values(backend, backwards) == [list(b) for b in backwards]
    finally:
        backend.close()


def test_threads_leave_torch_to_its_own_number_of_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[int] = []
        backend = ThreadsBackend(Rows(seconds=0.002), num_workers=6, prefetch=1)
        list(backend.run(batches_of(np.arange(NUM), 1)))
        late = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        late.start()
        late.join()
        backend.close()
        assert torch.get_num_threads() == 2
        assert seen == [2], "a thread that starts later has the caller's setting"
    finally:
        torch.set_num_threads(before)


def test_threads_say_which_of_them_made_a_batch() -> None:
    backend = ThreadsBackend(Rows(seconds=0.005), num_workers=3, prefetch=1)
    workers = {batch.worker for batch in backend.run(batches_of(np.arange(NUM), 1))}
    backend.close()
    assert workers <= {0, 1, 2}
    assert len(workers) > 1


class LateDevice:
    """Stands for a device that copies out of page-locked memory long after it was told to."""

    def __init__(self) -> None:
        self.queued: list[tuple[torch.Tensor, list[float]]] = []
        self.copied: list[list[float]] = []
        self.lock = threading.Lock()  # several threads may wait for it at once

    def queue_copy(self, batch: torch.Tensor) -> None:
        self.queued.append((batch, []))

    def fence(self):
        upto, device = len(self.queued), self

        class Fence:
            def synchronize(self) -> None:
                device.copy(upto)

        return Fence()

    def copy(self, upto: int) -> None:
        with self.lock:
            while len(self.copied) < upto:
                self.copied.append(self.queued[len(self.copied)][0][:, 0].tolist())


@pytest.mark.parametrize("name", BACKENDS)
def test_a_buffer_is_not_filled_before_the_device_has_copied_it(name: str) -> None:
    backend, device = backend_of(name, Rows()), LateDevice()
    backend._ring._fences = Fences(device.fence)
    batches = batches_of(np.arange(NUM), 4)
    for _ in range(2):
        for batch in backend.run(batches):
            device.queue_copy(batch.inputs)
    device.copy(len(device.queued))
    backend.close()
    assert device.copied == [list(b) for b in batches] * 2


@pytest.mark.parametrize("num_kept", [0, 1, 2, 5])
def test_a_buffer_that_was_kept_for_later_is_not_filled_before_it_is_copied(num_kept: int) -> None:
    # Trainers ask for a batch ahead, and copy the one before only then.
    source = ReaderSource(VectorizedDataset(torch.arange(40.0)[:, None]), Mode.lazy)
    backend, device, batches = InlineBackend(source), LateDevice(), batches_of(np.arange(40), 4)
    backend._ring = Ring(source, num_slots=3, pin_memory=False)
    backend._ring._fences = Fences(device.fence)
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    for _ in range(2):
        for batch in backend.run(batches):
            kept.append((batch.inputs.lend(), batch.inputs.tensors[0]))
            if len(kept) > num_kept:
                device.queue_copy(kept.pop(0)[1])  # nobody holds what was lent any more
    device.copy(len(device.queued))
    assert device.copied == [list(b) for b in batches * 2][: len(device.queued)]


def test_slots_grow_with_the_batch_and_never_shrink() -> None:
    ring = Ring(Rows(), num_slots=2, pin_memory=False)
    ring.reserve(4)
    address = ring.slot(0).data_ptr()
    ring.reserve(3)
    assert ring.slot(2).data_ptr() == address
    ring.reserve(9)
    assert ring.slot(1).shape == (9, 16)


def test_unknown_start_methods_are_told() -> None:
    assert workers_can_start(StartMethod.forkserver) is None
    assert "no start method" in str(workers_can_start(StartMethod.auto))
