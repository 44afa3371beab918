"""What a process holds is measured, and what grows is found."""

from __future__ import annotations

import gc
import json
import mmap
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chirpid.bench import memory, soak
from chirpid.bench.footprint import MIB, footprint
from chirpid.cli.bench import main
from chirpid.errors import BenchmarkError
from chirpid.types import Mode


def test_a_footprint_counts_memory_descriptors_threads_and_children(tmp_path: Path) -> None:
    gc.collect()  # what earlier tests left goes now, and not between the two looks
    before = footprint()
    # A map of its own: an array may be given what an earlier test has freed.
    memory_taken = mmap.mmap(-1, 256 * MIB)
    np.frombuffer(memory_taken, dtype=np.uint8)[:] = 1
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    with (
        open(tmp_path / "file", "w"),
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE),
    ):
        after = footprint()
        stop.set()
        thread.join()
    assert after.own_bytes - before.own_bytes > 0.7 * len(memory_taken)
    memory_taken.close()
    assert after.num_threads >= before.num_threads + 2  # ours, and that of the child
    assert after.num_children == before.num_children + 1
    assert after.num_fds >= before.num_fds + 2


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells them apart")
def test_pages_of_a_mapped_file_are_not_taken_for_own_memory(tmp_path: Path) -> None:
    np.zeros(64 * MIB, dtype=np.uint8).tofile(tmp_path / "rows")
    before = footprint()
    rows = np.memmap(tmp_path / "rows", dtype=np.uint8, mode="r")
    assert int(rows.sum()) == 0
    after = footprint()
    assert after.mapped_bytes - before.mapped_bytes > 0.9 * rows.nbytes
    assert after.own_bytes - before.own_bytes < 0.1 * rows.nbytes


def test_what_grows_in_thousands_of_epochs_is_found() -> None:
    start = replace(footprint(), own_bytes=500 * MIB)
    looks = [start] * soak.NUM_LOOKS
    assert soak.is_flat(looks)
    warm = [replace(start, own_bytes=400 * MIB, num_threads=1)] * 4 + looks[4:]
    assert soak.is_flat(warm)  # pools and buffers are made at the start
    for name, step in (("own_bytes", MIB), ("num_fds", 1), ("num_threads", 1), ("num_children", 1)):
        leaky = [
            replace(look, **{name: getattr(look, name) + step * number})
            for number, look in enumerate(looks)
        ]
        assert not soak.is_flat(leaky), name
    noisy = [replace(start, own_bytes=500 * MIB + 2000 * (n % 7)) for n in range(soak.NUM_LOOKS)]
    assert soak.is_flat(noisy)


def test_a_soak_that_is_not_flat_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[Any] = []

    def leaks(number: int) -> None:
        kept.append(open(tmp_path / f"{number}", "w"))  # noqa: SIM115 - the point of it

    monkeypatch.setattr(soak, "CASES", {"leaks": lambda bench, stack: leaks})
    out = tmp_path / "soak.json"
    with pytest.raises(BenchmarkError, match="had grown in: leaks"):
        main(["soak", "--quick", "--output", str(out)])
    for file in kept:
        file.close()
    (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert row["fds"][2] > row["fds"][0]
    assert row["flat"] is False
    assert "**no**" in capsys.readouterr().out


@pytest.mark.parametrize("case", soak.CASES)
def test_each_case_of_a_soak_runs(case: str, tmp_path: Path) -> None:
    (row,) = soak.measure(tmp_path, epochs=soak.NUM_LOOKS, only=[case], say=lambda line: None)
    assert row.epochs == soak.NUM_LOOKS
    assert row.case == case


def test_memory_is_told_for_each_mode_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_EVERY_S", 0.1)  # looking is half of the work otherwise
    rows = memory.measure(tmp_path, samples=4, duration_s=0.5, batch_size=4,
                          say=lambda line: None, modes=[Mode.cached])  # fmt: skip
    cases = {"cached", "cached, building the store"}
    assert {row.case for row in rows} == cases
    assert sorted(row.samples for row in rows) == [4] * len(cases) + [40] * len(cases)
    for row in rows:
        assert row.peak_mib >= row.base_mib > 10
        assert row.grown_mib == row.peak_mib - row.base_mib
    assert len(memory.markdown(rows).splitlines()) == 2 + len(cases)
