"""What is told of a machine: a line a subject, and everything as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chirpid.loading.disks import Disk, DiskKind
from chirpid.loading.facts import Facts, read_facts
from chirpid.loading.gpus import CopyRates, Gpu, copy_rates, read_gpus
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.topology import Node

H200 = Gpu(
    "NVIDIA H200", int(139.8 * GIB), usable=True, free_bytes=139 * GIB, capability="9.0",
    driver="570.86.15", pci="0000:c1:00.0", node=1,
)  # fmt: skip
LAB = Facts(
    machine=Machine(48, 512 * GIB, 400 * GIB, "NVIDIA H200", H200.ram_bytes, 24),
    software={"chirpid": "1", "python": "3.11.7", "torch": "2.11", "cuda": "13.0",
              "platform": "Linux-6.8", "cpu": "EPYC 9654", "kernels": "native, avx512"},
    num_logical_cores=384,
    cgroup_cores=48,
    cgroup_bytes=512 * GIB,
    nodes=(Node(0, (0, 1, 2, 96), 256 * GIB), Node(1, (3,))),
    gpus=(H200,),
    disks=(Disk(Path("birds"), DiskKind.nvme, "nvme0n1 is X", "xfs", "/dev/nvme0n1", 1, GIB),),
    rates=CopyRates(pageable=20e9, pinned=55.04e9),
)  # fmt: skip


def test_every_subject_is_told_in_a_line() -> None:
    assert dict(LAB.rows()) == {
        "software": "chirpid 1, python 3.11.7, torch 2.11, cuda 13.0 on Linux-6.8",
        "processor": "EPYC 9654; 384 threads, 48 usable of 24 physical cores",
        "limits": "48 cores, 512.0 GiB by control group",
        "memory": "512.0 GiB, 400.0 GiB free",
        "NUMA": "2 nodes: 0 (cores 0-2,96, 256.0 GiB), 1 (cores 3)",
        "GPU 0": "NVIDIA H200, 139.8 GiB, 139.0 GiB free, compute capability 9.0, "
        "driver 570.86.15, on NUMA node 1",
        "pinning": "55.0 GB/s to the GPU from page-locked memory, 20.0 GB/s from other",
        "disk of birds": "nvme: nvme0n1 is X; xfs, 0.0 MiB free of 1.0 GiB",
        "kernels": "native, avx512",
    }


def test_what_a_system_does_not_tell_is_said() -> None:
    machine = Machine(8, 16 * GIB, 9 * GIB)
    unseen = replace(H200, usable=False, capability=None, driver=None, node=None, free_bytes=None)
    facts = replace(LAB, machine=machine, cgroup_cores=None, cgroup_bytes=None, nodes=(), gpus=(),
                    disks=(Disk(Path(), DiskKind.unknown, "this system does not tell"),),
                    rates=None)  # fmt: skip
    told = dict(facts.rows())
    assert told["processor"].endswith("threads, 8 usable")
    assert told["limits"] == "no control group sets any"
    assert told["NUMA"] == "this system does not tell"
    assert told["GPU"] == "none"
    assert told["disk of ."] == "unknown: this system does not tell"
    assert "pinning" not in told
    limited = replace(facts, process_bytes=GIB)
    assert dict(limited.rows())["limits"].endswith("sets any; 1.0 GiB left by ulimit")
    told = dict(replace(facts, gpus=(unseen,)).rows())
    assert told["GPU 0"] == ("NVIDIA H200, 139.8 GiB; the driver sees it, torch cannot use it")
    assert dict(replace(LAB, rates=None).rows())["pinning"] == "not measured; --measure does"


def test_all_facts_are_plain_json() -> None:
    plain = json.loads(json.dumps(LAB.plain()))
    assert plain["machine"]["num_physical_cores"] == 24
    assert plain["disks"][0] == {
        "path": "birds", "kind": "nvme", "reason": "nvme0n1 is X", "filesystem": "xfs",
        "device": "/dev/nvme0n1", "free_bytes": 1, "total_bytes": GIB,
    }  # fmt: skip
    assert plain["gpus"][0]["node"] == 1
    assert plain["rates"]["pageable"] == 20e9


def test_this_machine_is_read_without_rights(tmp_path: Path) -> None:
    facts = read_facts([tmp_path], measure=not torch.cuda.is_available())
    assert facts.machine.num_cores <= facts.num_logical_cores
    assert [disk.path for disk in facts.disks] == [tmp_path]
    assert {"software", "processor", "memory", "NUMA", "kernels"} <= set(dict(facts.rows()))
    if not torch.cuda.is_available():
        assert facts.rates is None, "there is nothing to copy to"
        assert not [gpu for gpu in facts.gpus if gpu.usable]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_torch_uses_is_described_once() -> None:
    gpus = read_gpus()
    assert [gpu.name for gpu in gpus if gpu.usable] == [
        torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
    ]
    assert len({gpu.pci for gpu in gpus}) == len(gpus)
    rates = copy_rates(num_bytes=2**20, repeats=3)
    assert rates is not None
    assert min(rates.pinned, rates.pageable) > 0
