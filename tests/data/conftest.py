"""What tests of the data share: a small set of recordings, and what makes its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.data.check import Checked
from chirpid.data.rows import RowMaker
from chirpid.data.segments import SegmentTable
from tests.sounds import write_set
from tests.workbench import maker_of, opened


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings: three classes by four people. Nobody writes there."""
    return write_set(tmp_path_factory.mktemp("small") / "set")


@pytest.fixture(scope="session")
def made(small_set: Path) -> tuple[Checked, SegmentTable]:
    """The set as it was found, and its segments."""
    return opened(small_set)


@pytest.fixture(scope="session")
def maker(made: tuple[Checked, SegmentTable]) -> RowMaker:
    """What makes its rows: spectrograms in float16."""
    return maker_of(made[1])
