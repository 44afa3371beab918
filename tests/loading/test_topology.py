"""Physical cores, NUMA nodes and places of PCI devices, read from trees laid out like /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.loading.topology import Node, node_of_pci, numa_nodes, parse_list, physical_cores


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,8", [0, 1, 2, 3, 8]), ("5", [5]), ("", []), ("0,2-2", [0, 2]), ("\n", [])],
)
def test_lists_of_the_kernel(text: str, numbers: list[int]) -> None:
    assert parse_list(text) == numbers


def test_two_threads_of_a_core_are_one_physical_core(tmp_path: Path) -> None:
    files = {}
    for number in range(8):  # 2 sockets of 2 cores of 2 threads
        folder = f"devices/system/cpu/cpu{number}/topology"
        files[f"{folder}/core_id"] = str(number % 2)
        files[f"{folder}/physical_package_id"] = str(number // 2 % 2)
    system = write(tmp_path, files)
    assert physical_cores(system, set(range(8))) == 4
    assert physical_cores(system, {0, 4}) == 1
    assert physical_cores(system, {0, 1, 2}) == 3
    assert physical_cores(system, {0, 99}) is None


def test_nodes_with_their_cores_and_memory(tmp_path: Path) -> None:
    system = write(tmp_path, {
        "devices/system/node/online": "0-1",
        "devices/system/node/node0/cpulist": "0-1,4-5",
        "devices/system/node/node0/meminfo": "Node 0 MemTotal:  2048 kB\nNode 0 MemFree:  1024 kB",
        "devices/system/node/node1/cpulist": "",
    })  # fmt: skip
    assert numa_nodes(system) == [Node(0, (0, 1, 4, 5), 2 * 2**20, 2**20), Node(1, ())]
    assert numa_nodes(tmp_path / "elsewhere") == []


def test_the_node_of_a_gpu(tmp_path: Path) -> None:
    system = write(tmp_path, {
        "bus/pci/devices/0000:c1:00.0/numa_node": "1",
        "bus/pci/devices/0000:01:00.0/numa_node": "-1",
    })  # fmt: skip
    assert node_of_pci("00000000:C1:00.0", system) == 1
    assert node_of_pci("0000:01:00.0", system) is None
    assert node_of_pci("0000:02:00.0", system) is None


def test_this_machine_has_no_more_physical_cores_than_logical_ones() -> None:
    physical = physical_cores()
    cores = [core for node in numa_nodes() for core in node.cores]
    assert physical is None or physical >= 1
    assert len(cores) == len(set(cores)), "no core is on two nodes"
