"""What all tests share: the real recordings where they are present, and audio made on the spot."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tests.examples  # noqa: F401 - it loads hypothesis's profile, for tests that name no number

SHARED = Path(os.environ.get("CHIRPID_SHARED", Path(__file__).parents[2] / "shared")) / "data"


def pytest_configure() -> None:
    """Hear Ctrl-C: a shell's background job is started with it ignored, and hands that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def _settled_heap() -> None:
    """Spare collections what is there to stay: looking through all of it took a tenth of the suite.

    Anew for each file, since benchmarks thaw it.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built as an installer does."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out],
        cwd=Path(__file__).parents[1], capture_output=True, timeout=200, check=True,
    )  # fmt: skip
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with `puerto-rico-birds` and `hostile`; skips where a clone has none."""
    if not (SHARED / "puerto-rico-birds" / "metadata.csv").is_file():
        pytest.skip("the shared recordings are not present")
    return SHARED
