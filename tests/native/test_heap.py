"""Memory that a step frees is there for the next, and goes back in the end."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import pytest
import torch

from chirpid.native.heap import kept_memory, set_by_user

NUMBERS = 6 * 2**20  # 24 MiB each: smaller than what the C library would ever map on its own
STEP_PAGES = 8 * 4 * NUMBERS / resource.getpagesize()


def step_faults(times: int) -> int:
    """Return the pages that the system had to clear for steps of 8 activations each."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        assert len([torch.zeros(NUMBERS) for _ in range(8)]) == 8  # all there at once, then freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@pytest.fixture
def glibc() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        pytest.skip("another C library keeps its own counsel")
    return library


def test_steps_take_no_new_pages(glibc: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    with kept_memory() as outer, kept_memory() as inner:
        assert outer
        assert inner
        step_faults(3)  # until the blocks have found their places
        assert step_faults(3) < 3 * STEP_PAGES / 20


def test_memory_goes_back_with_the_last_context(glibc: ctypes.CDLL) -> None:
    with kept_memory():
        with kept_memory():
            step_faults(1)
        inside = resident_mib()
    assert resident_mib() < inside - 100


@pytest.mark.parametrize(
    ("environ", "is_set"),
    [
        ({}, False),
        ({"MALLOC_ARENA_MAX": "2"}, False),
        ({"MALLOC_TRIM_THRESHOLD_": "0"}, True),
        ({"GLIBC_TUNABLES": "glibc.pthread.rseq=1"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1"}, True),
    ],
)
def test_what_the_user_has_set_stands(environ: dict[str, str], is_set: bool) -> None:
    assert set_by_user(environ) is is_set


def test_nothing_is_kept_that_was_not_asked_for() -> None:
    with kept_memory(False) as kept:
        assert kept is False
