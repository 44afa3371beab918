"""What engine tests share: one thread, and a small set of recordings for each file.

For whole modules, so that runs whose bits are compared have the same number of threads.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.data.segments import SegmentTable
from tests.one_thread import _one_thread  # noqa: F401 - a fixture
from tests.sounds import write_set
from tests.workbench import segments_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the tests of a file write."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def segments(place: Path) -> SegmentTable:
    """Twelve recordings: three classes by four people."""
    return segments_of(write_set(place / "set"))
