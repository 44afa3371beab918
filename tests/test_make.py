from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PINS = ("requirements.txt", "requirements-dev.txt")


def make(*argv: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return subprocess.run(
        ["make", *argv], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_the_promised_targets() -> None:
    listed = re.findall(r"^  make (\w+)", make().stdout, re.MULTILINE)
    promised = "help install train test lint types ui bench docs clean"
    assert set(promised.split()) <= set(listed)


def test_an_old_or_missing_python_is_refused_in_one_line(tmp_path: Path) -> None:
    run = make("install", f"VENV={tmp_path / 'venv'}", "PYTHON=python2.7")
    assert run.returncode != 0
    assert "ChirpID needs Python 3.11 or newer, and 'python2.7' is not." in run.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("name", PINS)
def test_pins_are_exact_and_name_no_host(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert lines
    assert all(
        re.match(r"^[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.+!]+( ; .+)?$", line) for line in lines
    )


def test_tests_run_on_the_versions_that_training_runs_on() -> None:
    run, dev = (set((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in PINS)
    assert run <= dev


def test_pins_lie_within_the_bounds_of_the_project() -> None:
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = dict(
        line.split(" ;")[0].split("==")
        for line in (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    )
    for text in project["project"]["dependencies"] + project["dependency-groups"]["dev"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[wanted.name]), text


def test_the_checkouts_entry_is_the_command() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--version"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert run.stdout.startswith("chirpid ")
