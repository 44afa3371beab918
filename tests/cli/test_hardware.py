"""`chirpid hardware` prints a profile that `hardware=` takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from chirpid import native
from chirpid.cli.hardware import main, profile_yaml
from chirpid.cli.main import main as chirpid
from chirpid.config.store import compose_raw
from chirpid.loading.facts import Facts, read_facts
from chirpid.loading.gpus import CopyRates
from chirpid.loading.hardware import GIB, Machine, usable_cores


@pytest.fixture(scope="module")
def here() -> Facts:
    return read_facts([Path()])


def test_what_is_printed_is_this_machine_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert chirpid(["hardware", "--path", "no/such/folder"]) == 0
    said = capsys.readouterr().out
    told = {line.split()[1]: line for line in said.splitlines() if line.startswith("#   ")}
    assert told["kernels"].endswith(native.describe())
    assert {"software", "processor", "limits", "memory", "NUMA", "GPU", "disk"} <= set(told)
    assert "disk of no/such/folder" in said
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


def test_all_facts_are_json_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lab.yaml"
    assert main(["--json", "--save", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["profile"] == yaml.safe_load(path.read_text())
    assert found["facts"]["machine"]["num_cores"] == usable_cores()


def test_sizes_are_rounded_down_and_names_of_gpus_survive(here: Facts) -> None:
    machine = Machine(num_cores=32, ram_bytes=int(62.79 * GIB), free_bytes=GIB,
                      gpu="NVIDIA: 'RTX' 5080", gpu_bytes=int(15.99 * GIB))  # fmt: skip
    expected = {
        "name": "x", "num_cores": 32, "ram_gib": 62.7, "gpu": "NVIDIA: 'RTX' 5080",
        "gpu_memory_gib": 15.9,
    }  # fmt: skip
    found = replace(here, machine=machine, rates=None)
    assert yaml.safe_load(profile_yaml(found, "x")) == expected
    for pinned, worth in ((2e9, True), (1.1e9, False)):
        measured = replace(found, rates=CopyRates(pageable=1e9, pinned=pinned))
        assert yaml.safe_load(profile_yaml(measured, "x")) == expected | {"pin_memory": worth}


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
