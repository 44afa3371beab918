"""The layers of the design, read off the import statements."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chirpid

PACKAGE = Path(chirpid.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS: tuple[tuple[str, ...], ...] = (
    # Atomic writing is used by all that write, trackers too, and knows nothing but the errors.
    (
        "chirpid.errors",
        "chirpid.types",
        "chirpid.targets",
        "chirpid.seeds",
        "chirpid.storage.atomic",
        "chirpid.native",
    ),
    ("chirpid.config", "chirpid.tracking", "chirpid.loading.monitor"),
    ("chirpid.audio", "chirpid.storage"),
    ("chirpid.data", "chirpid.models"),
    ("chirpid.loading",),
    ("chirpid.engine",),
    ("chirpid.predict", "chirpid.reports", "chirpid.bench"),
    ("chirpid.build",),
    ("chirpid.cli",),
)
ONLY_IN = {
    "hydra": ("chirpid.config", "chirpid.build", "chirpid.cli"),
    "omegaconf": ("chirpid.config", "chirpid.build", "chirpid.cli"),
    "soundfile": ("chirpid.audio", "chirpid.bench.plain"),
    "torchaudio": ("chirpid.audio", "chirpid.bench.plain"),
    "mlflow": ("chirpid.tracking",),
    "chirpid.config.schema": ("chirpid.config", "chirpid.build", "chirpid.cli"),
}
HEAVY = ("torch", "torchaudio", "mlflow", "matplotlib", "pandas", "sklearn", "hydra", "numpy")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer_of(module: str) -> int:
    """Return the layer whose longest name fits; `chirpid` itself is below all."""
    fits = [(len(name), layer) for layer, names in enumerate(LAYERS) for name in names
            if is_below(module, name)]  # fmt: skip
    if not fits:
        assert module == "chirpid", f"{module} is in no layer: add it to LAYERS"
        return -1
    return max(fits)[1]


def imports_of(path: Path) -> Iterator[str]:
    """Yield what a module imports, also inside functions, but not for type checking only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_from_right_to_left(path: Path) -> None:
    here = layer_of(name_of(path))
    for imported in imports_of(path):
        if is_below(imported, "chirpid") and imported.count(".") >= 1 and _is_module(imported):
            assert layer_of(imported) <= here, f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_outside_library_has_its_place(path: Path) -> None:
    module = name_of(path)
    for imported in imports_of(path):
        for library, places in ONLY_IN.items():
            if is_below(imported, library):
                assert any(is_below(module, place) for place in places), f"{module}: {imported}"


def test_mlflow_stays_in_the_modules_named_after_it() -> None:
    users = {path.name for path in MODULES for name in imports_of(path) if is_below(name, "mlflow")}
    assert all(name.startswith("mlflow") for name in users)


@pytest.mark.parametrize("module", ["chirpid", "chirpid.errors", "chirpid.cli.main"])
def test_importing_the_package_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {name.split(".")[0] for name in run.stdout.split()} & set(HEAVY)


def _is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()
