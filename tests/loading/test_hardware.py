"""Facts of the machine, within the limits of containers and batch systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chirpid.loading.hardware import (
    cgroup_cores,
    cgroup_memory_free,
    cgroup_memory_limit,
    read_machine,
    usable_cores,
)

NO_FILE = Path("/does/not/exist")


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def own(tmp_path: Path, text: str) -> Path:
    (tmp_path / "own").write_text(text)
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", None), ("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1),
        ("1600000 100000\n", 16), ("", None), ("nonsense", None),
    ],
)  # fmt: skip
def test_version_2_cpu_quota(tmp_path: Path, text: str, cores: int | None) -> None:
    assert cgroup_cores(tree(tmp_path, {"cpu.max": text}), NO_FILE) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("400000", 4), ("50000", 1)])
def test_version_1_cpu_quota(tmp_path: Path, quota: str, cores: int | None) -> None:
    files = {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000\n"}
    assert cgroup_cores(tree(tmp_path, files), NO_FILE) == cores


def test_version_2_memory_counts_what_cannot_be_dropped(tmp_path: Path) -> None:
    files = {
        "memory.max": "1000000\n", "memory.current": "700000\n",
        "memory.stat": "anon 300000\ninactive_file 150000\nactive_file 250000\n",
    }  # fmt: skip
    root = tree(tmp_path, files)
    assert cgroup_memory_limit(root, NO_FILE) == 1_000_000
    assert cgroup_memory_free(root, NO_FILE) == 700_000


def test_version_1_memory_takes_the_totals(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": "1000000", "memory/memory.usage_in_bytes": "900000",
        "memory/memory.stat": "inactive_file 1\nactive_file 1\n"
        "total_inactive_file 100000\ntotal_active_file 200000\n",
    }  # fmt: skip
    root = tree(tmp_path, files)
    assert cgroup_memory_limit(root, NO_FILE) == 1_000_000
    assert cgroup_memory_free(root, NO_FILE) == 400_000


def test_no_limit_is_none(tmp_path: Path) -> None:
    for files in ({}, {"memory.max": "max"}, {"memory.max": ""}):
        root = tree(tmp_path, files)
        assert cgroup_memory_limit(root, NO_FILE) is None
        assert cgroup_memory_free(root, NO_FILE) is None
        assert cgroup_cores(root, NO_FILE) is None


def test_the_tightest_level_of_version_2_counts(tmp_path: Path) -> None:
    files = {
        "a.slice/memory.max": "8000", "a.slice/memory.current": "7500",
        "a.slice/job/memory.max": "9000", "a.slice/job/memory.current": "10",
        "a.slice/cpu.max": "max 100000", "a.slice/job/cpu.max": "300000 100000",
        "other/memory.max": "1",
    }  # fmt: skip
    root, groups = tree(tmp_path / "sys", files), own(tmp_path, "0::/a.slice/job\n")
    assert cgroup_memory_limit(root, groups) == 8000
    assert cgroup_memory_free(root, groups) == 500
    assert cgroup_cores(root, groups) == 3


def test_a_batch_system_of_version_1_is_followed(tmp_path: Path) -> None:
    files = {
        "memory/slurm/job_7/memory.limit_in_bytes": "4000",
        "memory/memory.limit_in_bytes": str(2**63 - 4096),
        "cpu/slurm/cpu.cfs_quota_us": "200000", "cpu/slurm/cpu.cfs_period_us": "100000",
    }  # fmt: skip
    groups = own(tmp_path, "5:memory:/slurm/job_7\n4:cpu,cpuacct:/slurm/job_7\n1:name=systemd:/\n")
    root = tree(tmp_path / "sys", files)
    assert cgroup_memory_limit(root, groups) == 4000
    assert cgroup_cores(root, groups) == 2


def test_a_group_outside_of_the_namespace_is_not_followed(tmp_path: Path) -> None:
    root = tree(tmp_path / "sys", {"memory.max": "5000"})
    tree(tmp_path, {"memory.max": "3"})
    assert cgroup_memory_limit(root, own(tmp_path, "0::/../..\n")) == 5000


def test_this_machine_has_cores_and_memory() -> None:
    machine = read_machine("cpu")
    assert 1 <= machine.num_cores == usable_cores() <= (os.cpu_count() or 1)
    assert 0 <= machine.free_bytes <= machine.ram_bytes
    assert machine.gpu is None
