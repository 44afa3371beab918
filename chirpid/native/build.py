"""Compiles src/*.cpp into one shared library. Run it, or install the package, after a change there.

Imports nothing of ChirpID: the build of the package loads this file on its own.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent / "src"
LIBRARY = Path(__file__).parent / "libchirpid.so"
COMPILERS = ("c++", "g++", "clang++")
# No fast-math, no fused multiply-add, no OpenMP: every vector width gives the same bits.
FLAGS = (
    "-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-fvisibility=hidden",
    "-Wall", "-Wextra", "-pthread",
)  # fmt: skip
# Linked in, so that the library needs no newer C++ runtime than the machine that it is taken to.
LINK = ("-shared", "-pthread", "-static-libgcc", "-static-libstdc++")
X86_WIDTHS = {
    "baseline": (),
    "avx2": ("-mavx2", "-mf16c"),
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mf16c",
               "-mprefer-vector-width=512"),
}  # fmt: skip


class BuildError(Exception):
    """There is no compiler, or it does not compile this."""


def sources_hash(folder: Path = SOURCES) -> str:
    """Return what tells the sources in `folder`, and how they are compiled, from any others."""
    found = hashlib.sha256(repr((FLAGS, LINK, X86_WIDTHS)).encode())
    for path in sorted(folder.iterdir()):
        if path.suffix in (".cpp", ".h", ".inc"):
            found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def find_compiler() -> list[str]:
    """Return the C++ compiler as the beginning of a command: CXX, or the first that is installed.

    Raises:
        BuildError: there is none.
    """
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in COMPILERS:
        if path := shutil.which(name):
            return [path]
    raise BuildError(f"no C++ compiler found (CXX, {', '.join(COMPILERS)})")


def build(
    target: Path,
    *,
    flags: tuple[str, ...] = (),
    link: tuple[str, ...] = LINK,
    more_sources: tuple[Path, ...] = (),
) -> None:
    """Compile all sources and put the library at `target`, whole or not at all.

    Raises:
        BuildError: there is no compiler, or it does not compile this.
    """
    compiler = find_compiler()
    x86 = _run([*compiler, "-dumpmachine"]).startswith("x86_64")
    defines = [f'-DCHIRPID_SOURCES="{sources_hash()}"', *(["-DCHIRPID_HAS_X86_WIDTHS"] * x86)]
    compile_one = [*compiler, *FLAGS, *flags, *defines, f"-I{SOURCES}"]
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        commands: dict[str, list[str]] = {}
        # Narrow ones first: of a library function that several objects hold, the linker keeps the
        # first, which must not need more than this processor has.
        for width, options in (X86_WIDTHS if x86 else {"baseline": ()}).items():
            for source in (*sorted(SOURCES.glob("*.cpp")), *more_sources):
                made = f"{folder}/{source.stem}.{width}.o"
                if width == "baseline" or source.stem.endswith("_wide"):
                    commands[made] = [*compile_one, *options, f"-DCHIRPID_WIDTH={width}",
                                      "-c", str(source), "-o", made]  # fmt: skip
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands.values()))
        library = Path(folder) / target.name
        _run([*compiler, *flags, *commands, *link, "-o", str(library)])
        os.replace(library, target)


def _run(command: list[str]) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]}: {error.strerror}") from error
    if run.returncode:
        said = (run.stderr or run.stdout).strip()
        raise BuildError(f"{shlex.join(command)} ended with {run.returncode}\n{said}".strip())
    return run.stdout


if __name__ == "__main__":
    try:
        build(LIBRARY)
    except BuildError as problem:
        sys.exit(f"error: {problem}")
    print(f"made {LIBRARY}")
