"""What all tests share: the real recordings where they are present, and audio made on the spot."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import tests.examples  # noqa: F401 - it loads hypothesis's profile, for tests that name no number
from tests.parallel import (  # noqa: F401 - hooks of pytest
    pytest_cmdline_main,
    pytest_collection_modifyitems,
    pytest_xdist_make_scheduler,
)

SHARED = Path(os.environ.get("CHIRPID_SHARED", Path(__file__).parents[2] / "shared")) / "data"


BYTECODE = Path(__file__).parents[1] / ".pytest_cache" / "bytecode"


def pytest_configure() -> None:
    hear_ctrl_c()
    keep_bytecode()


def pytest_unconfigure() -> None:
    """Drop the bytecode of modules that tests wrote: their folders are gone."""
    shutil.rmtree(f"{BYTECODE}{tempfile.gettempdir()}", ignore_errors=True)


def hear_ctrl_c() -> None:
    """A shell's background job is started with it ignored, and hands that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def keep_bytecode() -> None:
    """Let some sixty processes that tests start not compile torch and mlflow, of seconds, again.

    Where PYTHONDONTWRITEBYTECODE wants none beside sources, it is kept in pytest's own folder.
    """
    if sys.dont_write_bytecode and sys.pycache_prefix is None:
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(BYTECODE)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(BYTECODE)


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
