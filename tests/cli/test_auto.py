"""loader=auto on settings that leave little to choose from."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from chirpid.cli.auto_work import limits_of
from chirpid.cli.prepare import Prepared, prepare
from chirpid.config.store import compose
from chirpid.errors import ConfigError
from chirpid.types import Backend, Mode
from tests.page_commands import DEMO, FAST


def prepared_with(folder: Path, *words: str) -> tuple[Prepared, list[str]]:
    """Return what is prepared with loader=auto, and what was said of it."""
    place = [f"paths.outputs={folder}", "tracking=off", "cv.num_folds=3"]
    resolved = compose([*FAST, *DEMO, *place, "loader=auto", "loader.probe_s=0.2", *words])
    heard = io.StringIO()
    prepared = prepare(resolved.config, Console(file=heard, width=200), resolved.given)
    return prepared, [line for line in heard.getvalue().splitlines() if "loader=auto" in line]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


def test_nothing_larger_than_the_batches_that_come_is_measured(place: Path) -> None:
    prepared, _ = prepared_with(place, "loader.batch_size=1000")
    assert prepared.tuned is not None
    work = prepared.tuned.work
    assert work.batch_size == work.train_samples < 100
    assert work.batch_bytes == work.batch_size * prepared.maker.spec.batch_row_bytes
    assert prepared.tuned.outcome.found.costs.batch_size == work.batch_size


def test_folds_with_batches_of_another_size_are_measured_anew(place: Path) -> None:
    words = ("loader.batch_size=1000", "loader.drop_last=false", "seed=3")
    first, _ = prepared_with(place, *words)
    other, _ = prepared_with(place, *words, "cv.num_folds=2")
    assert first.tuned is not None
    assert other.tuned is not None
    assert first.tuned.key == other.tuned.key
    assert not other.tuned.outcome.remembered
    assert other.tuned.outcome.found.costs.batch_size == other.tuned.work.batch_size


def test_folds_without_a_batch_are_refused_and_not_probed(place: Path) -> None:
    prepared, told = prepared_with(place, "loader.drop_last=true", "loader.batch_size=1000")
    assert (prepared.tuned, told) == (None, [])
    with pytest.raises(ConfigError, match=r"loader\.drop_last=true leaves fold 0 no batch"):
        prepared.check_fit()


def test_workers_that_a_profile_forbids_leave_the_calling_thread(place: Path) -> None:
    prepared, told = prepared_with(place, "loader.num_workers=4", "hardware.max_workers=0")
    limits = limits_of(prepared.config, prepared.machine, prepared.device, (Mode.lazy,))
    assert (limits.backends, limits.num_workers) == ((Backend.inline,), 0)
    assert prepared.tuned is not None
    assert "inline" in told[0]


def test_where_nothing_may_be_chosen_that_is_said(place: Path) -> None:
    words = ("loader.backend=threads", "hardware.max_workers=0")
    prepared, told = prepared_with(place, *words)
    assert prepared.tuned is None
    assert told == ["loader=auto: nothing that may be chosen fits; the plan is made without"]
