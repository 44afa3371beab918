"""How much memory is left: of the machine, of a container, of a limit that the shell has set."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from chirpid.loading.hardware import GIB, process_memory_free
from chirpid.loading.room import MIB, MemoryProbe, Room, left_clean


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
import gc
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


class Knot:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_refers_to_itself_is_gone_after_and_nothing_stays_frozen() -> None:
    before = Knot()
    kept = weakref.ref(before)
    gc.disable()  # or chance would collect it
    try:
        with left_clean():
            inside = weakref.ref(Knot())
            assert inside() is not None
        assert inside() is None
    finally:
        gc.enable()
    assert gc.get_freeze_count() == 0
    del before
    gc.collect()
    assert kept() is None
