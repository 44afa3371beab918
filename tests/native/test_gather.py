"""Gathering rows: one result from every vector width, thread count and way of doing it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid import native
from chirpid.data.gather import Gather
from chirpid.data.kept import RowSpec
from chirpid.native.library import WIDTHS
from chirpid.types import Keep, StoreDtype
from tests.examples import examples

LIBRARY = native.handle()
needs_library = pytest.mark.skipif(LIBRARY is None, reason=native.describe())


@pytest.fixture(params=range(3), ids=WIDTHS)
def width(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each vector width that this processor has, in turn."""
    assert LIBRARY is not None
    before = LIBRARY.chirpid_width()
    if LIBRARY.chirpid_use_width(request.param):
        pytest.skip(f"this processor does not have {WIDTHS[request.param]}")
    yield request.param
    LIBRARY.chirpid_use_width(before)


def spec_of(dtype: StoreDtype, numbers: int) -> RowSpec:
    return RowSpec(Keep.spectrogram, dtype, (numbers,), low=-100.0, high=17.3)


def rows_of(spec: RowSpec, num_rows: int, seed: int) -> torch.Tensor:
    """Rows of random bytes: all numbers that there are, subnormal and infinite ones too."""
    raw = np.random.default_rng(seed).integers(0, 256, num_rows * spec.row_bytes, dtype=np.uint8)
    rows = torch.from_numpy(raw).view(spec.torch_dtype).reshape(num_rows, *spec.shape)
    # Which of the bits of a NaN survive is nobody's promise.
    return rows.nan_to_num() if rows.is_floating_point() else rows


def reference(spec: RowSpec, rows: torch.Tensor, ids: np.ndarray) -> torch.Tensor:
    """What torch makes of them, without a word of ours but the scale."""
    values = rows[torch.from_numpy(ids)].float()
    if spec.scale != 1.0:
        values = values * spec.scale
    return values + spec.offset if spec.offset else values


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


@needs_library
@settings(max_examples=examples(60), deadline=None)
@given(
    dtype=st.sampled_from(list(StoreDtype)),
    # Odd rows that end beside every vector width, and such as are shared in parts.
    numbers=st.integers(1, 70) | st.sampled_from([784, 4099, 65536, 65537, 140001]),
    num_rows=st.integers(1, 12),
    num_ids=st.integers(0, 40),
    num_threads=st.integers(1, 5),
    placed=st.booleans(),
    seed=st.integers(0, 2**32),
)
@pytest.mark.parametrize("dtype_width", range(3), ids=WIDTHS)
def test_every_width_and_thread_count_gives_the_bits_of_torch(
    dtype_width, dtype, numbers, num_rows, num_ids, num_threads, placed, seed
) -> None:
    if LIBRARY.chirpid_use_width(dtype_width):
        pytest.skip(f"this processor does not have {WIDTHS[dtype_width]}")
    spec = spec_of(dtype, numbers)
    rows = rows_of(spec, num_rows, seed)
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, num_rows, num_ids)
    places = generator.permutation(num_ids + 3)[:num_ids] if placed else None
    out = torch.full((num_ids + 3, numbers), 77.0)
    try:
        Gather(spec, rows).into(ids, out, places=places, num_threads=num_threads)
    finally:
        LIBRARY.chirpid_use_width(LIBRARY.chirpid_widest())
    where = np.arange(num_ids) if places is None else places
    assert same_bits(out[torch.from_numpy(where)], reference(spec, rows, ids))
    others = np.setdiff1d(np.arange(num_ids + 3), where)
    assert (out[torch.from_numpy(others)] == 77.0).all(), "nothing else is written"


@needs_library
def test_every_half_there_is_becomes_what_numpy_says(width: int) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[~np.isnan(halves)]
    spec = RowSpec(Keep.spectrogram, StoreDtype.float16, (len(halves),))
    out = torch.empty(1, len(halves))
    Gather(spec, torch.from_numpy(halves)[None]).into(np.zeros(1, np.int64), out)
    assert np.array_equal(out[0].numpy().view(np.int32), halves.astype(np.float32).view(np.int32))


@needs_library
def test_what_is_not_a_number_stays_so(width: int) -> None:
    bits = np.array([0x7C01, 0x7E00, 0xFC01, 0xFFFF] * 9, dtype=np.uint16)
    spec = RowSpec(Keep.spectrogram, StoreDtype.float16, (len(bits),))
    out = torch.empty(1, len(bits))
    Gather(spec, torch.from_numpy(bits.view(np.float16))[None]).into(np.zeros(1, np.int64), out)
    assert out.isnan().all()


@pytest.mark.parametrize("dtype", list(StoreDtype))
def test_without_the_library_the_bits_are_the_same(
    dtype: StoreDtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "handle", lambda: None)
    for numbers in (5, 784):
        spec = spec_of(dtype, numbers)
        rows = rows_of(spec, 30, seed=numbers)
        ids = np.array([3, 29, 3, 0])
        gather, out = Gather(spec, rows), torch.zeros(6, numbers)
        assert gather._native is None
        gather.into(ids, out)
        assert same_bits(out[:4], reference(spec, rows, ids))
        gather.into(ids, out, places=np.array([5, 1, 4, 2]))
        assert same_bits(out[[5, 1, 4, 2]], reference(spec, rows, ids))
        gather.into(ids[:0], out)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("bad", [-1, 30, 2**62, -(2**63)])
def test_a_bad_id_is_named_and_nothing_is_written(
    bad: int, library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not library:
        monkeypatch.setattr(native, "handle", lambda: None)
    spec = spec_of(StoreDtype.float16, 8)
    gather, out = Gather(spec, rows_of(spec, 30, seed=0)), torch.zeros(4, 8)
    with pytest.raises(IndexError, match=rf"^id {bad} is not among the segments from 0 to 29$"):
        gather.into(np.array([3, bad, 4]), out)
    with pytest.raises(IndexError, match=r"^place 4 is not among the places from 0 to 3$"):
        gather.into(np.array([3, 4]), out, places=np.array([0, 4]))
    assert not out.any()


@needs_library
def test_more_ids_than_the_batch_has_rows_are_refused() -> None:
    spec = spec_of(StoreDtype.float32, 8)
    with pytest.raises(IndexError, match=r"^place 4 is not among the places from 0 to 3$"):
        Gather(spec, rows_of(spec, 30, seed=0)).into(np.arange(5), torch.zeros(4, 8))


def test_rows_on_a_read_only_memory_map_are_rows_like_others(tmp_path: Path) -> None:
    spec = spec_of(StoreDtype.int16, 1001)
    rows = rows_of(spec, 40, seed=1)
    (tmp_path / "rows").write_bytes(rows.numpy().tobytes())
    mapped = torch.from_file(
        str(tmp_path / "rows"), shared=False, size=rows.numel(), dtype=torch.int16
    ).reshape(rows.shape)
    ids, out = np.array([39, 0, 17, 17]), torch.empty(4, 1001)
    Gather(spec, mapped).into(ids, out)
    assert same_bits(out, reference(spec, rows, ids))


def large_gather(num_threads: int = 4) -> bool:
    """Gather enough to be shared by the pool; returns whether it is right."""
    spec = spec_of(StoreDtype.float16, 20000)
    rows = rows_of(spec, 20, seed=2)
    ids, out = np.arange(20)[::-1].copy(), torch.empty(20, 20000)
    Gather(spec, rows).into(ids, out, num_threads=num_threads)
    return same_bits(out, reference(spec, rows, ids))


@needs_library
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    assert large_gather(), "the parent's pool runs"
    # As a program of its own: torch may have threads here that a fork would leave half-way.
    program = (
        "import os, sys, torch; torch.set_num_threads(1)\n"
        "from tests.native.test_gather import large_gather\n"
        "assert large_gather()\n"
        "for _ in range(3):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os._exit(0 if large_gather() and large_gather() else 1)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert large_gather()\n"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONPATH": str(root)}, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@needs_library
def test_many_threads_gather_at_once() -> None:
    right: list[bool] = []

    def work() -> None:
        right.extend(large_gather(num_threads=3) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 30


@needs_library
def test_rows_that_are_moved_to_shared_memory_are_read_where_they_are() -> None:
    """As torch does with all that is sent to worker processes; the old place is given back."""
    spec = spec_of(StoreDtype.float32, 784)
    rows = torch.randn(5000, 784)
    expected, gather, out = rows.clone(), Gather(spec, rows), torch.empty(2, 784)
    gather.into(np.array([3, 4999]), out)
    before = rows.data_ptr()
    rows.share_memory_()
    assert rows.data_ptr() != before
    gather.into(np.array([4998, 0]), out)
    assert torch.equal(out, expected[[4998, 0]])
