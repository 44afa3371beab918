"""Worker processes: deaths, errors, memory, start methods, and a caller that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.data.order import batches_of
from chirpid.errors import BudgetError, DataError, TrainingError
from chirpid.loading.backends import deaths
from chirpid.loading.backends.processes import ProcessesBackend
from chirpid.loading.backends.shared import PAGE, SharedFile, SharedRing
from chirpid.types import Keep, Mode, StartMethod, StoreDtype
from tests.loading.test_backends import NUM, Rows, backend_of, child_pids, first_values

BATCHES = batches_of(np.arange(NUM), 4)


class DiesOnce(Rows):
    """Kills its worker at each of some ids, the first time that they are asked for."""

    def __init__(self, folder: Path, *at: int) -> None:
        super().__init__()
        self.folder, self.at = folder, at

    def fetch(self, ids, out=None):
        for row in set(self.at) & set(ids.tolist()):
            mark = self.folder / str(row)
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().fetch(ids, out)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_dead_worker_is_replaced_and_its_batch_made_again(tmp_path: Path, workers: int) -> None:
    said: list[str] = []
    backend = backend_of(
        "processes", DiesOnce(tmp_path, 0, 17, 22, 39), num_workers=workers, say=said.append
    )
    try:
        for _ in range(2):
            assert first_values(backend, BATCHES) == [list(b) for b in BATCHES]
    finally:
        backend.close()
    assert len(said) == 4
    assert "died (killed by SIGKILL): started again, its work is done anew. If memory" in said[0]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("persistent", [True, False])
def test_a_batch_that_two_workers_die_of_is_named(persistent: bool) -> None:
    said: list[str] = []
    backend = backend_of("processes", Rows(die_at=20), persistent=persistent, say=said.append)
    try:
        for _ in range(2):
            got = []
            with pytest.raises(TrainingError, match="A loader worker died") as caught:
                got.extend(batch.ids[0] for batch in backend.run(BATCHES))
            assert "samples 20, 21, 22, 23 (4 in all)" in str(caught.value)
            assert "\n" not in caught.value.line()
            assert got == [0, 4, 8, 12, 16], "what came before is delivered"
            assert first_values(backend, BATCHES[:3]) == [list(b) for b in BATCHES[:3]]
        assert len(said) == 2, "the first death of each pass"
    finally:
        backend.close()


@pytest.mark.timeout(60)
def test_workers_that_die_whatever_they_do_are_one_line() -> None:
    backend = backend_of("processes", Rows(), say=lambda line: None)
    others = {process.pid for process in backend._crew._processes.values()}

    def kill_all_at_every_step() -> None:
        for _ in backend.run(np.arange(4000).reshape(-1, 1) % NUM):
            for process in backend._crew._processes.values():
                os.kill(process.pid, signal.SIGKILL)

    try:
        with pytest.raises(TrainingError, match=r"A loader worker died .*SIGKILL"):
            kill_all_at_every_step()
        assert first_values(backend, BATCHES) == [list(b) for b in BATCHES]
    finally:
        backend.close()
    assert not others & child_pids()


@pytest.mark.timeout(60)
def test_workers_killed_during_a_step_are_replaced_at_the_next_batch() -> None:
    said: list[str] = []
    others = child_pids()  # such as multiprocessing's own helpers
    backend = backend_of("processes", Rows(), say=said.append)
    batches = batches_of(np.arange(NUM), 1)
    try:
        passing = backend.run(batches)
        next(passing)
        workers = [psutil.Process(pid) for pid in child_pids() - others]
        assert len(workers) == 2
        for worker in workers:
            worker.kill()
        while any(w.status() != psutil.STATUS_ZOMBIE for w in workers):
            pass  # the step: a signal here must not raise
        assert not said
        assert [b.inputs[:, 0].tolist() for b in passing] == [list(b) for b in batches[1:]]
        assert len(said) == 2
    finally:
        backend.close()


@pytest.mark.timeout(60)
def test_a_worker_that_hangs_is_one_line_after_the_timeout() -> None:
    class Hangs(Rows):
        def fetch(self, ids, out=None):
            if 13 in ids:
                signal.pause()
            return super().fetch(ids, out)

    backend = backend_of("processes", Hangs(), timeout_s=0.5)
    try:
        with pytest.raises(TrainingError, match=r"within loader\.timeout_s"):
            list(backend.run(BATCHES))
        assert first_values(backend, BATCHES[:3]) == [list(b) for b in BATCHES[:3]]
    finally:
        backend.close()


class Fails(Rows):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def fetch(self, ids, out=None):
        raise self.error


def error_of(dataset: Rows) -> Exception:
    backend = backend_of("processes", dataset)
    try:
        with pytest.raises((TrainingError, DataError)) as caught:
            list(backend.run(BATCHES))
        return caught.value
    finally:
        backend.close()


def test_other_errors_are_told_with_their_type_and_the_place_in_the_worker() -> None:
    error = error_of(Fails(KeyError("call")))
    assert error.line() == (
        "training error: A batch could not be made in a loader worker: KeyError: 'call'"
    )
    assert "raise self.error" in str(error.__cause__)


@pytest.mark.parametrize("kind", [DataError, KeyError])
def test_an_error_of_any_length_arrives(kind: type[Exception]) -> None:
    error = error_of(Fails(kind("grünspecht " * 10_000)))
    assert "grünspecht" in str(error)
    assert str(error).endswith("…")


class Threads(Rows):
    def fetch(self, ids, out=None):
        batch, stages = super().fetch(ids, out)
        batch[:] = torch.get_num_threads()
        return batch, stages


def test_workers_use_one_thread() -> None:
    backend = backend_of("processes", Threads())
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert {v for batch in first_values(backend, BATCHES) for v in batch} == {1.0}
    finally:
        torch.set_num_threads(before)
        backend.close()


def test_larger_batches_get_larger_slots_and_those_in_use_stay() -> None:
    backend = backend_of("processes", Rows())
    try:
        last = list(backend.run(BATCHES))[-1]
        expected = last.inputs.clone()
        passing = backend.run([np.arange(NUM)] * 5)
        assert torch.equal(next(passing).inputs[:, 0], torch.arange(NUM).float())
        assert torch.equal(last.inputs, expected), "until the next-but-one is asked for"
        assert len(list(passing)) == 4
        begin = backend._ring.region.begin
        assert first_values(backend, BATCHES) == [list(b) for b in BATCHES]
        assert backend._ring.region.begin == begin, "slots never shrink"
    finally:
        backend.close()


def test_slots_begin_on_a_page() -> None:
    ring = SharedRing(
        RowSpec(Keep.waveform, StoreDtype.float32, (7,)), num_slots=3, pin_memory=False, say=print
    )
    ring.reserve(5)
    assert all(ring.slot(n).data_ptr() % PAGE == 0 for n in range(3))
    assert [ring.slot(n).shape for n in range(3)] == [(5, 7)] * 3
    ring.close()


def test_without_memory_files_the_ring_lies_in_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refused)
    backend = backend_of("processes", Rows())
    try:
        assert backend._ring.file.place is not None
        assert first_values(backend, BATCHES) == [list(b) for b in BATCHES]
    finally:
        backend.close()


def test_a_ring_that_there_is_no_room_for_is_refused() -> None:
    file = SharedFile()
    with pytest.raises(BudgetError, match=r"need 2147483648\.0 GiB .*loader\.prefetch"):
        file.grow(2**61)
    file.close()


def test_deaths_are_explained() -> None:
    assert "SIGKILL" in deaths.how(-9)
    assert "signal 250" in deaths.how(-250)
    assert "exit code 3" in deaths.how(3)
    assert "/dev/shm" in deaths.advice(-signal.SIGBUS)
    assert "num_workers=0" in deaths.advice(-signal.SIGSEGV)
    assert "memory" in deaths.advice(-9)
    line = deaths.too_many(33, -9).line()
    assert "A loader worker died (killed by SIGKILL): 33 deaths in this pass. If memory" in line


PROGRAM = """
    import os, signal, sys
    import numpy as np
    from chirpid.loading.backends.processes import ProcessesBackend
    from chirpid.types import StartMethod
    from tests.loading.test_processes import Rows

    def use(method, last):
        make = lambda: ProcessesBackend(
            Rows(), num_workers=2, prefetch=1, start_method=StartMethod(method)
        )
        first, second = make(), make()
        # Started after the second crew: it must not keep that one's pipes open, nor its own.
        victim = first._crew._processes[0]
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        for backend in (first, second):
            assert len(list(backend.run(np.arange(40).reshape(-1, 4)))) == 10
        crews = (first._crew, second._crew)
        print(*(p.pid for crew in crews for p in crew._processes.values()), flush=True)
        if last == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        for case in sys.argv[1:]:  # each by a process that begins as a new program would
            if not (pid := os.fork()):
                use(*case.split("-"))
                sys.exit()
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.timeout(120)
def test_workers_end_with_a_caller_that_is_gone(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, str(program), "fork-killed", "forkserver-killed", "fork-forgot to close"],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    workers, codes = run.stdout.splitlines()[::2], run.stdout.splitlines()[1::2]
    assert codes == [str(-signal.SIGKILL), str(-signal.SIGKILL), "0"]
    pids = [int(pid) for line in workers for pid in line.split()]
    assert len(pids) == 3 * 4
    end = time.monotonic() + 20
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end, "a worker outlived its caller"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:  # where nobody collects orphans, they stay as zombies
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.timeout(120)
def test_workers_that_are_not_forked_gather_from_shared_rows() -> None:
    """By spawn; tests/data/test_one_result.py has forkserver."""
    spec = RowSpec(Keep.waveform, StoreDtype.int16, (8,))
    rows = (torch.arange(30)[:, None] * 100 + torch.arange(8)).short().share_memory_()
    backend = ProcessesBackend(
        TensorDataset(spec, rows, Mode.eager),
        num_workers=1,
        prefetch=2,
        start_method=StartMethod.spawn,
    )
    expected = rows.float() * torch.tensor(1 / 32767)
    try:
        for size in (4, 7):
            ids = batches_of(np.arange(30)[::-1], size)
            got = torch.cat([batch.inputs.clone() for batch in backend.run(ids)])
            assert torch.equal(got, expected.flip(0))
    finally:
        backend.close()
