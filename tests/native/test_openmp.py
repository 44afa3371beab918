"""OpenMP's threads spin or sleep while they wait, as they are told to."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch  # noqa: F401 - it brings the OpenMP that is asked here

from chirpid.native.openmp import Waits, set_by_user, team_size

MANY = 10_000
"""Workers, more than any machine has cores for."""

# Processor time of other threads than ours while nothing is to be done: count-based, so that a
# busy machine changes nothing.
SPUN = """
import time, torch
from chirpid.native.openmp import Waits
torch.set_num_threads(2)
x = torch.ones(2**21)
def spun():
    x.add_(1)
    begin = time.process_time() - time.thread_time()
    for _ in range(10):
        x.add_(0)
        time.sleep(0.02)
    return time.process_time() - time.thread_time() - begin
waits = Waits(2, 10_000)
spinning = spun()
waits.sleep(True)
asleep = spun() if waits.asleep else "not GNU"
waits.end()
print(spinning, asleep, spun())
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one core they always sleep")
def test_whoever_sleeps_takes_no_processor_time() -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    out = subprocess.run(
        [sys.executable, "-c", SPUN], env=environ, capture_output=True, text=True, check=True,
        timeout=100,
    ).stdout.split()  # fmt: skip
    if "not" in out:
        pytest.skip("another OpenMP than GNU's")
    spinning, asleep, again = map(float, out)
    assert asleep < spinning / 4
    assert asleep < again / 4


@pytest.mark.parametrize(
    ("num_threads", "num_cores", "size"), [(2, 2, 2), (4, 2, 2), (1, 2, 3), (8, 16, 10)]
)
def test_a_team_makes_more_threads_than_cores(num_threads: int, num_cores: int, size: int) -> None:
    assert team_size(num_threads, num_cores) == size
    assert num_threads + size - 1 > num_cores


def test_a_single_thread_waits_for_nobody_and_nothing_is_left() -> None:
    before = threading.enumerate()
    alone, together = Waits(1, MANY), Waits(2, MANY)
    alone.sleep(True)
    assert not alone.asleep
    together.sleep(True)
    together.end()
    together.end()
    assert threading.enumerate() == before


def test_changes_keep_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1.0]
    monkeypatch.setattr("chirpid.native.openmp.time.perf_counter", lambda: now_s[0])
    waits = Waits(2, MANY)
    waits.sleep(True)
    if not waits.asleep:
        pytest.skip("another OpenMP than GNU's")
    waits.sleep(False)
    assert waits.asleep
    now_s[0] = 1.011
    waits.sleep(False)
    assert not waits.asleep


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_user_has_set_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not set_by_user({"OMP_NUM_THREADS": "2"})
    monkeypatch.setenv(name, "0")
    waits = Waits(2, MANY)
    waits.sleep(True)
    assert not waits.asleep


def test_nobody_is_put_to_sleep_where_there_are_cores_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chirpid.native.openmp._num_cores", lambda: 192)
    waits = Waits(8, 184)
    waits.sleep(True)
    assert not waits.asleep


def test_where_no_thread_more_can_be_started_they_go_on_spinning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    waits = Waits(2, MANY)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        waits.sleep(True)
    assert not waits.asleep
    waits.end()
