"""Whether workers can import the program is seen from its text."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from chirpid.loading.main_module import why_only_fork


def program(tmp_path: Path, text: str) -> ModuleType:
    main = ModuleType("__main__")
    main.__file__ = str(tmp_path / "train.py")
    Path(main.__file__).write_text(text)
    return main


@pytest.mark.parametrize(
    "text",
    [
        "import os\nif __name__ == '__main__':\n    print(1)\n",
        "'''A module.'''\nimport os\nN = 3\ndef f():\n    pass\nclass A:\n    pass\n",
        "this is no Python",
    ],
    ids=["guarded", "definitions", "no Python"],
)
def test_a_program_that_does_nothing_when_imported_can_be(tmp_path: Path, text: str) -> None:
    assert why_only_fork(program(tmp_path, text)) is None


def test_a_script_that_trains_when_imported_can_only_be_forked(tmp_path: Path) -> None:
    why = why_only_fork(program(tmp_path, "import os\nfor _ in range(3):\n    print(1)\n"))
    assert why is not None
    assert why.startswith("train.py has no `if __name__")


@pytest.mark.parametrize("work", ["batches = list(loader)", "n: int = len([b for b in loader])"])
def test_what_a_script_assigns_may_be_its_training(tmp_path: Path, work: str) -> None:
    assert why_only_fork(program(tmp_path, f"import os\nloader = None\n{work}\n")) is not None


def test_a_notebook_can_only_be_forked() -> None:
    assert "notebook" in str(why_only_fork(ModuleType("__main__")))
