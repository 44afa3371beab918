from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from chirpid import native
from chirpid.tracking.environment import environment, git_state, run_tags


def git(folder: Path, *arguments: str) -> None:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
                "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": "/dev/null"}  # fmt: skip
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True,
                   env={**os.environ, **identity})  # fmt: skip


def test_the_state_of_the_code_can_be_restored_from_what_is_kept(tmp_path: Path) -> None:
    git(tmp_path, "init", "-b", "trunk")
    (tmp_path / "a.py").write_text("x = 1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "First")
    clean = git_state(tmp_path)
    assert (clean["branch"], clean["dirty"], clean["diff"]) == ("trunk", "false", "")
    (tmp_path / "a.py").write_text("x = 2\n")
    dirty = git_state(tmp_path)
    assert dirty["commit"] == clean["commit"]
    assert dirty["dirty"] == "true"
    git(tmp_path, "checkout", "a.py")
    subprocess.run(["git", "-C", str(tmp_path), "apply"], input=dirty["diff"].encode(), check=True)
    assert (tmp_path / "a.py").read_text() == "x = 2\n"


def test_a_huge_difference_is_cut_off_and_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "a").write_text("")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "First")
    (tmp_path / "a").write_text("long line\n" * 100_000)
    diff = git_state(tmp_path)["diff"]
    assert len(diff) < 201_000
    assert "cut off" in diff.splitlines()[-1]


def test_outside_of_git_there_is_no_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {}
    assert git_state(tmp_path / "missing") == {}
    assert "mlflow.source.git.commit" not in run_tags({})


def test_the_environment_is_told_without_importing_heavy_libraries() -> None:
    code = (
        "import sys; from chirpid.tracking.environment import environment; e = environment();"
        "import chirpid.tracking, chirpid.tracking.sync;"
        "print([m for m in ('torch', 'mlflow', 'numpy', 'pandas') if m in sys.modules], e['torch'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] 2.")


def test_the_environment_names_the_machine() -> None:
    found = environment()
    assert found["kernels"] == native.describe()
    assert {"chirpid", "python", "platform", "cpu", "cores", "ram_gib", "torch"} <= set(found)
    assert int(found["cores"]) >= 1
    assert float(found["ram_gib"]) > 0
