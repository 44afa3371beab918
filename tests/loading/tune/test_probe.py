"""What a probe asks of the machine, and what it takes for known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chirpid.loading.tune import Limits, Work
from chirpid.loading.tune.memory import Found
from chirpid.loading.tune.probe import Subject, tune, write_seconds
from chirpid.types import Mode
from tests.loading.tune.costs import COSTS, work
from tests.loading.tune.models import Slow
from tests.sounds import write_set
from tests.workbench import maker_of, segments_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("probe") / "set", groups=2)


def subject_of(root: Path, todo: Work, *modes: Mode) -> Subject:
    segments = segments_of(root)
    return Subject(
        maker=maker_of(segments),
        key_N=segments.key_N,
        work=todo,
        limits=Limits(modes=modes, max_workers=2),
        device=torch.device("cpu"),
        cache_root=root.parent / "caches",
    )


def test_writing_is_timed_and_leaves_nothing(tmp_path: Path) -> None:
    assert 0 < write_seconds(tmp_path / "caches", 1000) < 1
    assert list((tmp_path / "caches").iterdir()) == []


def test_a_place_that_cannot_be_written_to_costs_the_probe_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert write_seconds(tmp_path / "file" / "caches", 1000) == 0.0


def test_what_is_remembered_answers_for_modes_that_were_not_asked_for(root: Path) -> None:
    outcome = tune(subject_of(root, work(), Mode.lazy), lambda: Slow(0.001), probe_s=0.1)
    assert outcome.found.costs.write_s > 0
    assert not outcome.remembered


def test_what_cannot_be_tried_is_not_asked_again_in_each_run(root: Path) -> None:
    def no_model() -> Slow:
        raise AssertionError("all that can be known is known")

    subject = subject_of(root, work(recordings_stay=False), Mode.lazy)
    outcome = tune(subject, no_model, probe_s=10.0, found=Found(COSTS))
    assert outcome.remembered
    assert outcome.pick is not None
