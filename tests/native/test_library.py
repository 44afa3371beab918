"""The library as it is built, found, chosen and refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chirpid import native
from chirpid.native import build
from chirpid.native.library import WIDTHS

ROOT = Path(build.__file__).parents[2]


def told(**environment: str) -> str:
    """Return what a new process with these variables says that it runs, or its error."""
    program = (
        "from chirpid import native; from chirpid.errors import ChirpError\n"
        "try: print(native.describe())\n"
        "except ChirpError as error: print(error.line())"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-P", "-c", program], env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


def need_library() -> None:
    if native.handle() is None:
        pytest.skip(native.describe())


def test_where_there_is_a_compiler_there_is_the_library() -> None:
    try:
        build.find_compiler()
    except build.BuildError as problem:
        pytest.skip(str(problem))
    if os.environ.get("CHIRPID_NATIVE") != "0":
        assert native.describe().startswith("native, "), native.describe()


def test_the_environment_switches_it_off_and_forces_widths() -> None:
    assert told(CHIRPID_NATIVE="0") == "numpy and torch (CHIRPID_NATIVE=0)"
    need_library()
    library = native.handle()
    assert library is not None
    assert told(CHIRPID_NATIVE="1") == f"native, {WIDTHS[library.chirpid_widest()]}"
    for number, width in enumerate(WIDTHS):
        if number <= library.chirpid_widest():
            assert told(CHIRPID_NATIVE=width) == f"native, {width}"
        else:
            assert "but this processor ends at" in told(CHIRPID_NATIVE=width)


def test_a_wish_that_makes_no_sense_is_one_line() -> None:
    expected = "config error: CHIRPID_NATIVE=sse is not one of 0, 1, baseline, avx2, avx512."
    assert told(CHIRPID_NATIVE="sse") == expected


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout to spoil: what loads the library, and the library."""
    package = tmp_path / "chirpid"
    package.mkdir()
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "chirpid" / name, package)
    shutil.copytree(ROOT / "chirpid/native", package / "native")
    return tmp_path


def test_a_library_from_other_sources_is_refused(copy: Path) -> None:
    need_library()
    assert told(PYTHONPATH=str(copy)).startswith("native, ")
    with (copy / "chirpid/native/src/gather.cpp").open("a") as source:
        source.write("// changed\n")
    why = "the native library was built from other sources: run 'make install'"
    assert told(PYTHONPATH=str(copy)) == f"numpy and torch ({why})"
    insisted = told(PYTHONPATH=str(copy), CHIRPID_NATIVE="1")
    assert insisted == f"config error: CHIRPID_NATIVE=1, but {why}. Set it to 0 to do without."


def test_what_is_no_library_is_refused(copy: Path) -> None:
    library = copy / "chirpid/native" / build.LIBRARY.name
    library.write_bytes(b"not a library")
    assert told(PYTHONPATH=str(copy)).startswith(
        "numpy and torch (the native library does not load: "
    )
    library.unlink()
    assert told(PYTHONPATH=str(copy)).startswith("numpy and torch (the native library is not built")


def wheel_built_with(compiler: str | None, out: Path) -> tuple[Path, str]:
    """Build the wheel, with CXX set or no program to be found; returns it and what was said."""
    pytest.importorskip("hatchling")
    env = {k: v for k, v in os.environ.items() if k != "CXX"}
    env |= {"PATH": ""} if compiler is None else {"CXX": compiler}
    run = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    (wheel,) = out.glob("*.whl")
    return wheel, run.stdout + run.stderr


@pytest.mark.parametrize("compiler", [None, "false", "/nowhere/c++"])
def test_without_a_working_compiler_the_wheel_is_pure_and_says_so(
    compiler: str | None, tmp_path: Path
) -> None:
    wheel, said = wheel_built_with(compiler, tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    assert "ChirpID is built without its native library: " in said
    # And it works: unpacked, it says what it does instead.
    zipfile.ZipFile(wheel).extractall(tmp_path)
    assert "is not built" in told(PYTHONPATH=str(tmp_path))


def test_with_a_compiler_the_wheel_holds_the_library(wheel: Path, tmp_path: Path) -> None:
    need_library()
    try:
        build.find_compiler()
    except build.BuildError as problem:
        pytest.skip(str(problem))
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith(".so")] == ["chirpid/native/libchirpid.so"]
    zipfile.ZipFile(wheel).extractall(tmp_path)
    assert told(PYTHONPATH=str(tmp_path)) == told()
