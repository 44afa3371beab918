"""The suite on two processors: every test once, some beside no other, one last line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from tests import parallel

pytest.importorskip("xdist")
ROOT = Path(__file__).parents[1]

SETTINGS = """
[pytest]
testpaths = checks
addopts = -q -p xdist -p no:cacheprovider --import-mode=importlib
"""
HOOKS = """
from tests import parallel
from tests.parallel import *
parallel.ALONE = ("checks/test_a.py", "checks/test_c.py")
"""
FILE = """
import os, time
import pytest

@pytest.mark.parametrize("number", range(NUM))
def test_NAME(number):
    for what in ("begin", "end"):
        with open("notes", "a") as notes:
            notes.write(f"{what} NAME{number} {os.getpid()}\\n")
        time.sleep(0.02)
"""
NUM_TESTS = {"a": 3, "b": 9, "c": 2, "d": 1, "e": 7}
Note = tuple[str, str, str]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of five files of tests that note when they begin and end, and in which process."""
    (tmp_path / "checks").mkdir()
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    (tmp_path / "checks/conftest.py").write_text(HOOKS)
    for name, num in NUM_TESTS.items():
        text = FILE.replace("NAME", name).replace("NUM", str(num))
        (tmp_path / f"checks/test_{name}.py").write_text(text)
    return tmp_path


def run(suite: Path, *more: str) -> tuple[str, list[Note]]:
    """Return the last line that pytest prints, and the notes."""
    # As if nothing ran around it: within a process of pytest-xdist no others are asked for.
    outer = {key: value for key, value in os.environ.items() if "XDIST" not in key}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *more], cwd=suite, capture_output=True, text=True,
        env={**outer, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        timeout=100, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    notes = [tuple(line.split()) for line in (suite / "notes").read_text().splitlines()]
    return ended.stdout.splitlines()[-1], notes


def test_all_run_once_and_the_alone_ones_beside_no_other(suite: Path) -> None:
    last, notes = run(suite)
    assert re.match(r"22 passed in ", last)
    begun = sorted(test for what, test, _ in notes if what == "begin")
    assert begun == sorted(f"{name}{k}" for name, num in NUM_TESTS.items() for k in range(num))
    assert len({process for _, _, process in notes}) == 2
    side_by_side, alone = notes[:-10], notes[-10:]
    assert not {test[0] for _, test, _ in side_by_side} & {"a", "c"}
    assert {test[0] for _, test, _ in alone} == {"a", "c"}
    assert len({process for _, _, process in alone}) == 1


@pytest.mark.parametrize("more", [["-n0"], ["-s"], ["checks/test_b.py"], ["-k", "b"]])
def test_a_part_of_the_suite_is_run_in_one_process(suite: Path, more: list[str]) -> None:
    _, notes = run(suite, *more)
    assert len({process for _, _, process in notes}) == 1


def test_the_files_that_are_named_are_there() -> None:
    named = (*parallel.ALONE, *parallel.FIRST, *chain(*parallel.TOGETHER))
    assert [path for path in named if not (ROOT / path).exists()] == []
