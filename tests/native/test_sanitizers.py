"""No function of the library reads or writes beyond its buffers, and no two threads collide."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chirpid.native import build

DRIVERS = tuple(sorted((Path(__file__).parent / "drivers").glob("*.cpp")))


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_all_functions_run_clean_under_a_sanitizer(sanitizer: str, tmp_path: Path) -> None:
    flags = (f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-O1", "-g1")
    try:
        compiler = build.find_compiler()
    except build.BuildError as problem:
        pytest.skip(str(problem))
    empty, program = tmp_path / "empty.cpp", tmp_path / "drive"
    empty.write_text("int main() { return 0; }\n")
    tried = subprocess.run([*compiler, *flags, empty, "-o", program], check=False)
    if tried.returncode or subprocess.run([program], check=False).returncode:
        pytest.skip(f"the compiler has no sanitizer for {sanitizer} that runs here")
    build.build(program, flags=flags, link=("-pthread",), more_sources=DRIVERS)
    run = subprocess.run([program], capture_output=True, text=True, timeout=200, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "driven\n", "")


def test_every_function_of_the_library_is_driven() -> None:
    """A function that is added to the library has to be added to the drivers."""
    there = {name for path in build.SOURCES.glob("*.cpp") for name in _exported(path.read_text())}
    text = "\n".join(path.read_text() for path in DRIVERS)
    assert there
    assert not [name for name in there if text.count(f"{name}(") < 2], "declared and called"


def _exported(source: str) -> list[str]:
    after = source.split("\nCHIRPID_API ")[1:]
    return [text.partition("(")[0].split()[-1].lstrip("*") for text in after]
