"""`chirpid hardware` prints a profile that `hardware=` takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chirpid import native
from chirpid.cli.hardware import main, profile_yaml
from chirpid.cli.main import main as chirpid
from chirpid.config.store import compose_raw
from chirpid.loading.hardware import GIB, Machine, usable_cores


def test_what_is_printed_is_this_machine_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert chirpid(["hardware"]) == 0
    said = capsys.readouterr().out
    assert f"# Kernels: {native.describe()}.\n" in said
    facts = yaml.safe_load(said)
    assert facts["num_cores"] == usable_cores()
    assert facts["ram_gib"] > 0


def test_a_saved_profile_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my_conf" / "hardware" / "lab-7.yaml"
    assert main(["--save", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"chirpid train --config-dir {tmp_path / 'my_conf'} hardware=lab-7" in said
    composed = compose_raw(["hardware=lab-7"], config_dir=tmp_path / "my_conf", sweep=False)
    hardware = composed.resolve().config.hardware
    assert hardware.name == "lab-7"
    assert hardware.num_cores == usable_cores()


def test_sizes_are_rounded_down_and_names_of_gpus_survive() -> None:
    machine = Machine(num_cores=32, ram_bytes=int(62.79 * GIB), free_bytes=GIB,
                      gpu="NVIDIA: 'RTX' 5080", gpu_bytes=int(15.99 * GIB))  # fmt: skip
    facts = yaml.safe_load(profile_yaml(machine, "x"))
    assert facts == {
        "name": "x", "num_cores": 32, "ram_gib": 62.7, "gpu": "NVIDIA: 'RTX' 5080",
        "gpu_memory_gib": 15.9,
    }  # fmt: skip


def test_nothing_is_written_over_and_odd_names_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("name: kept")
    assert main(["--save", str(path)]) == 2
    assert path.read_text() == "name: kept"
    assert main(["--save", str(tmp_path / "lab.txt")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all(line.startswith("config error: ") for line in errors)
