"""What the process tree uses, against what the processes themselves and psutil say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from chirpid.loading.monitor.usage import (
    CoreWatch,
    Gpu,
    ProcessTree,
    _read_anywhere,
    share_taken,
    tree_rss_bytes,
)

MIB = 2**20
HOLDS = "held = bytearray(b'x') * (64 << 20); print(flush=True); input()"
HAS_CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]],"
    " stdin=subprocess.PIPE, stdout=subprocess.PIPE); child.stdout.readline();"
    " print(flush=True); input(); child.communicate(b'\\n')"
)
BURNS = "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time(), flush=True)"


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_memory_is_that_of_children_and_their_children_too() -> None:
    tree = ProcessTree()
    before = tree.read().rss_bytes
    child = start(HAS_CHILD, HOLDS)
    assert child.stdout is not None
    child.stdout.readline()
    with_them = tree.read().rss_bytes
    me = psutil.Process()
    wanted = sum(p.memory_info().rss for p in [me, *me.children(recursive=True)])
    assert with_them == pytest.approx(wanted, rel=0.05)
    assert with_them - before > 60 * MIB, "64 MiB are held by the grandchild"
    child.communicate(b"\n")
    assert with_them - tree.read().rss_bytes > 60 * MIB
    assert tree_rss_bytes() > 10 * MIB


def test_processor_time_is_counted_also_of_a_child_that_ended() -> None:
    tree = ProcessTree()
    before, begin = tree.read().cpu_s, time.process_time()
    while time.process_time() - begin < 0.2:
        pass
    alone = tree.read().cpu_s - before
    took = time.process_time() - begin
    assert alone == pytest.approx(took, abs=0.05), "a tick of the system is 10 ms"
    child = start(BURNS)
    burned = float(child.communicate()[0])
    if not tree._linux:
        pytest.skip("only Linux tells what children took that ended")
    assert tree.read().cpu_s - before - alone > burned - 0.05


def test_bytes_from_disks_are_those_that_the_system_tells(tmp_path: Path) -> None:
    me = psutil.Process()
    if not hasattr(me, "io_counters"):
        pytest.skip("this system does not tell")
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4 * MIB))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        tree = ProcessTree()
        before, mine = tree.read().disk_bytes, me.io_counters().read_bytes
        file.read()
        told = me.io_counters().read_bytes - mine
        assert tree.read().disk_bytes - before == told


def test_systems_without_proc_are_told_by_psutil() -> None:
    one, other = ProcessTree().read(), _read_anywhere()
    assert one.rss_bytes == pytest.approx(other.rss_bytes, rel=0.05)
    assert one.cpu_s > 0
    assert other.cpu_s > 0


def test_a_forked_copy_tells_of_itself() -> None:
    tree = ProcessTree()
    tree.read()
    held = bytearray(b"x") * (64 * MIB)
    whole = tree.read().rss_bytes
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        own = {os.getpid()}
        tree.read()
        os.write(writer, b"1" if tree._ours == own else b"0")
        os._exit(0)
    assert os.read(reader, 1) == b"1"
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    assert whole > len(held)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not tell")
def test_a_core_that_another_program_had_is_told_apart_from_our_own_work() -> None:
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    burns = "import time; end = time.time() + 9\nwhile time.time() < end: pass"
    # Its shell has ended: nobody's child, and so none of ours.
    shell = ["sh", "-c", '"$0" -c "$1" >/dev/null 2>&1 & echo $!', sys.executable, burns]
    other = int(subprocess.run(shell, capture_output=True, check=True).stdout)
    try:
        watch, begin = CoreWatch(), time.process_time()
        while time.process_time() - begin < 0.3:
            pass
        own, others, queued = watch.cores()
    finally:
        os.kill(other, signal.SIGKILL)
        os.sched_setaffinity(0, usable)
    assert others is not None
    assert queued is not None
    assert queued >= others
    assert own < 0.9, "two at least wanted the core"
    assert own + others == pytest.approx(1, abs=0.2), "we were ready all the time"
    assert watch.others_share(1) > 0.1


def test_nobody_takes_from_a_program_that_has_all_its_cores() -> None:
    assert share_taken(3.0, 2.0, 2) == 0.0
    assert share_taken(0.0, 0.0, 2) == 0.0
    assert share_taken(0.5, 0.5, 2) == pytest.approx(0.5)
    assert share_taken(8.0, 1.0, 2) == pytest.approx(0.5), "others had more than we could use"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_gpu_is_told_of_once_torch_uses_it() -> None:
    held = torch.ones(64 * MIB // 4, device="cuda")
    gpu = Gpu()
    percent, used = gpu.read()
    assert percent != percent or 0 <= percent <= 100
    assert used >= torch.cuda.memory_allocated() >= held.nbytes
    assert gpu.read()[1] >= held.nbytes


def test_without_a_gpu_nothing_is_said_of_one() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    percent, used = Gpu().read()
    assert percent != percent
    assert used != used
