"""The shipped profiles on machines that are not theirs: each clamps, and says how."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from chirpid.build.plan import plan_of, profile_of, ram_budget
from chirpid.build.train import device_of
from chirpid.config.paths import conf_dir
from chirpid.config.schema import RootConfig
from chirpid.config.store import compose
from chirpid.data.kept import RowSpec
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.inputs import within
from chirpid.loading.plan import LoaderPlan, is_same_gpu
from chirpid.types import Backend, Keep, Mode, StoreDtype

SPEC = RowSpec(Keep.spectrogram, StoreDtype.float16, (64, 313))
MACHINES = {
    "own-5080": Machine(32, int(62.7 * GIB), 48 * GIB, "NVIDIA GeForce RTX 5080", int(15.5 * GIB)),
    "own-4090": Machine(24, 64 * GIB, 48 * GIB, "NVIDIA GeForce RTX 4090", int(23.6 * GIB)),
    "own-a100": Machine(128, 900 * GIB, 800 * GIB, "NVIDIA A100-SXM4-80GB", int(79.2 * GIB)),
    "own-h100": Machine(112, 900 * GIB, 800 * GIB, "NVIDIA H100 80GB HBM3", int(79.1 * GIB)),
    "own-h200": Machine(16, 125 * GIB, 120 * GIB, "NVIDIA H200", int(139.8 * GIB)),
    "small-a100": Machine(32, 200 * GIB, 99 * GIB, "NVIDIA A100-PCIE-40GB", int(39.5 * GIB)),
    "no-gpu": Machine(64, 256 * GIB, 200 * GIB),
    "two-cores": Machine(2, 8 * GIB, 6 * GIB),  # also: a container on a large machine
    "low": Machine(32, 64 * GIB, 3 * GIB, "NVIDIA GeForce RTX 3090", int(23.6 * GIB)),
}
CORES = "num_cores {} -> {}: hardware={} has more than this machine lets us use"
RAM = "ram_gib {} -> {}: hardware={} has more than this machine lets us use"
NO_GPU = "gpu {} -> none: there is none here, torch cannot use it, or the model runs on the CPU"
OTHER_GPU = "gpu {} -> {}: hardware={} describes another GPU"
GPU_RAM = "gpu_memory_gib {} -> {}: hardware={} has more than this machine lets us use"
WORKERS = "num_workers {} -> {}: {}"
FEW = "this machine has 2 usable cores"
LOW = "3.0 GiB free"
A100, RTX5080 = "NVIDIA A100", "NVIDIA GeForce RTX 5080"

# profile, machine, workers and prefetch of a lazy set of 5,000 segments, all lines
CASES: list[tuple[str, str, tuple[int, int], list[str]]] = [
    # On their own machines, whose memory is a little less than the makers', nothing is told
    # but caps that hold there, too.
    ("rtx5080", "own-5080", (8, 4), []),
    ("rtx4090", "own-4090", (16, 4), [WORKERS.format(18, 16, "hardware.max_workers=16")]),
    ("a100", "own-a100", (24, 4), [WORKERS.format(96, 24, "hardware.max_workers=24")]),
    ("h100", "own-h100", (21, 4), [WORKERS.format(84, 21, "hardware.max_workers=21")]),
    ("h200", "own-h200", (12, 4), []),
    ("laptop", "own-5080", (4, 2), []),
    ("cpu", "own-h200", (12, 4), []),
    # Another GPU, a smaller one of the same name, none.
    ("rtx5080", "own-4090", (8, 4), [
        CORES.format(32, 24, "rtx5080"),
        OTHER_GPU.format(RTX5080, "NVIDIA GeForce RTX 4090", "rtx5080"),
    ]),
    ("a100", "small-a100", (24, 4), [GPU_RAM.format("80.0", "39.5", "a100")]),
    ("h200", "own-5080", (21, 4), [
        OTHER_GPU.format("NVIDIA H200", RTX5080, "h200"), GPU_RAM.format("141.0", "15.5", "h200"),
        WORKERS.format(24, 21, "hardware.max_workers=21"),
    ]),
    ("rtx5080", "no-gpu", (8, 4), [NO_GPU.format(RTX5080)]),
    # Fewer cores, less memory.
    ("rtx5080", "two-cores", (2, 4), [
        CORES.format(32, 2, "rtx5080"), NO_GPU.format(RTX5080), WORKERS.format(8, 2, FEW),
    ]),
    ("laptop", "two-cores", (2, 2), [
        CORES.format(8, 2, "laptop"), RAM.format("16.0", "8.0", "laptop"),
        WORKERS.format(4, 2, FEW),
    ]),
    ("workstation", "two-cores", (1, 4), [
        CORES.format(24, 2, "workstation"), RAM.format("64.0", "8.0", "workstation"),
    ]),
    ("a100", "two-cores", (1, 4), [NO_GPU.format(A100)]),
    ("cpu", "two-cores", (1, 4), []),
    ("auto", "two-cores", (1, 4), []),
    # Little free memory.
    ("auto", "low", (2, 4), [WORKERS.format(24, 2, LOW)]),
    ("rtx5080", "low", (2, 4), [
        OTHER_GPU.format(RTX5080, "NVIDIA GeForce RTX 3090", "rtx5080"),
        WORKERS.format(8, 2, LOW),
    ]),
]  # fmt: skip


@cache
def config_of(name: str) -> RootConfig:
    return compose([f"hardware={name}", "mode=lazy"]).config


def plan(config: RootConfig, machine: Machine) -> LoaderPlan:
    return plan_of(config, machine, SPEC, num_segments=5000)


@pytest.mark.parametrize(
    ("name", "machine", "numbers", "lines"), CASES, ids=[f"{c[0]}-on-{c[1]}" for c in CASES]
)
def test_a_profile_never_breaks_a_machine(
    name: str, machine: str, numbers: tuple[int, int], lines: list[str]
) -> None:
    made = plan(config_of(name), MACHINES[machine])
    assert made.backend.value is Backend.threads
    assert (made.num_workers.value, made.prefetch.value) == numbers
    assert list(made.clamps) == lines
    has_gpu = MACHINES[machine].gpu is not None and name != "cpu"
    assert made.pin_memory.value == has_gpu


def test_every_shipped_profile_is_tried_above() -> None:
    shipped = {path.stem for path in (conf_dir() / "hardware").glob("*.yaml")}
    assert shipped == {name for name, *_ in CASES}


def test_memory_of_a_profile_bounds_the_budget_as_the_machines_does() -> None:
    config = config_of("laptop")
    assert config.memory.fraction == 0.7
    assert ram_budget(config, MACHINES["own-5080"]) == int(0.7 * 16 * GIB)
    assert ram_budget(config, MACHINES["two-cores"]) == int(0.7 * 6 * GIB)


def test_a_gpu_counts_as_far_as_profile_and_machine_both_go() -> None:
    card = replace(MACHINES["own-h200"], gpu_bytes=20 * GIB)
    assert within(card, profile_of(config_of("rtx5080"))).gpu_bytes == 16 * GIB
    assert within(card, profile_of(config_of("h200"))).gpu_bytes == 20 * GIB
    left_alone = within(card, profile_of(config_of("cpu")))
    assert (left_alone.gpu, left_alone.gpu_bytes) == (None, 0)


def test_the_cpu_profile_leaves_the_gpu_alone_unless_it_is_asked_for() -> None:
    assert device_of(config_of("cpu")).type == "cpu"
    config = compose(["hardware=cpu", "mode=eager", "loader=auto"]).config
    made = plan(config, MACHINES["own-h200"])
    assert config.mode.name is Mode.eager
    assert made.backend.value is Backend.inline


@pytest.mark.parametrize(
    ("described", "found", "same"),
    [
        ("NVIDIA A100", "NVIDIA A100-SXM4-80GB", True),
        ("NVIDIA A100", "NVIDIA A100 80GB PCIe", True),
        ("NVIDIA H100", "NVIDIA H100 80GB HBM3", True),
        ("NVIDIA H100", "NVIDIA H200", False),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090", True),
        ("NVIDIA GeForce RTX 5080", "NVIDIA GeForce RTX 5080 Laptop GPU", True),  # memory tells
        ("NVIDIA GeForce RTX 5080", "NVIDIA GeForce RTX 4090", False),
    ],
)
def test_names_of_gpus_are_compared_word_by_word(described: str, found: str, same: bool) -> None:
    assert is_same_gpu(described, found) == same
