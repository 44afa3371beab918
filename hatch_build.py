"""Build hook: compiles the native library into the wheel where there is a C++ compiler.

ChirpID does the same work without it, so that nothing here makes an installation fail.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the library into a wheel, or beside its sources for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        native = _load_build_program(Path(self.root))
        if version == "editable":
            target = native.LIBRARY
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="chirpid-")
            target = Path(self._folder.name) / native.LIBRARY.name
        try:
            native.build(target)
        except (native.BuildError, OSError) as error:
            self.app.display_warning(f"ChirpID is built without its native library: {error}")
            return
        if version != "editable":
            build_data["force_include"][str(target)] = f"chirpid/native/{target.name}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{_platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def _load_build_program(root: Path) -> Any:
    # By its path: importing the package would need all that it depends on.
    spec = importlib.util.spec_from_file_location("build", root / "chirpid/native/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _platform() -> str:
    """Return the platform of this machine as wheels name it, for any version of Python."""
    from packaging.tags import sys_tags

    for tag in sys_tags():
        if not tag.platform.startswith(("manylinux", "musllinux")):
            return tag.platform
    raise AssertionError("every machine has a platform")
