"""What is installed is what is tested: a wheel trains from an empty folder, without a checkout."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.e2e.line import PACKAGE, TINY, results_of, run_folder


def test_the_wheel_holds_the_whole_config_tree_and_nothing_of_this_machine(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = PACKAGE / "conf"
    tree = {
        f"chirpid/conf/{path.relative_to(conf)}"
        for path in conf.glob("**/*.yaml")
        if path.parent.name != "local"
    }
    assert tree <= names
    assert "chirpid/py.typed" in names
    assert not [name for name in names if "local" in Path(name).parts and name.endswith(".yaml")]
    assert not [name for name in names if name.startswith(("tests/", "conf/", "scripts/"))]


def test_an_installed_wheel_trains_from_an_empty_folder(
    wheel: Path, root: Path, tmp_path: Path
) -> None:
    places = [str(Path(sys.executable).parent), os.environ["PATH"]]
    uv = shutil.which("uv", path=os.pathsep.join(places))
    if uv is None:
        pytest.skip("uv is not there to install with")
    python = tmp_path / "env/bin/python"
    venv.create(python.parents[1], symlinks=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "--offline", "--no-deps", "--python", python, wheel],
        check=True,
    )
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    # torch and all else come from where these tests run; its .pth files are not followed from
    # there, so that an editable checkout stays out.
    others = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    (packages / "others.pth").write_text("\n".join(others or site.getsitepackages()))
    empty = tmp_path / "empty"
    empty.mkdir()
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        found = subprocess.run(
            command, cwd=empty, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert found.returncode == 0, found.stderr
        assert found.stderr == ""
        return found.stdout

    where = Path(run(python, "-c", "import chirpid; print(chirpid.__file__)").strip())
    assert where.is_relative_to(packages)
    run(python.with_name("chirpid"), "train", *TINY, "tracking=off", "engine=tiny",
        "engine.max_batches=1", "model.params.width=4", f"dataset.root={root}")  # fmt: skip
    assert len(results_of(run_folder(empty / "outputs"))["folds"]) == 2
    assert [path.name for path in empty.iterdir()] == ["outputs"]
