"""A loader that is changed while it trains gives the bits of one that never was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chirpid.data.segments import SegmentTable
from chirpid.data.stats import BandStats
from chirpid.engine.engine import TrainingEngine
from chirpid.engine.observer import Observers
from chirpid.loading import memory
from chirpid.loading.changes import Shape
from chirpid.loading.factory import Loader, make_loader
from chirpid.loading.memory import MemoryGuard
from chirpid.types import Backend, Mode
from tests.engine.bench import Recorder, engine_of, same_weights
from tests.loading.test_change import plan_of
from tests.loading.test_memory import Told
from tests.workbench import dataset_of, maker_of

START = Shape(Backend.threads, 2, 4)
SHAPES = [Shape(Backend.inline, 0, 1), Shape(Backend.threads, 1, 1), START]


@pytest.fixture(scope="module")
def straight(segments: SegmentTable, place: Path) -> Path:
    engine_of(segments, place / "straight", cache=place / "cache", only=[0]).run()
    return place / "straight"


def trained(
    segments: SegmentTable, folder: Path, cache: Path, loader: Loader, watch: Recorder
) -> TrainingEngine:
    engine = engine_of(segments, folder, cache=cache, only=[0])
    stats = BandStats(loader.run, segments.key_N, lambda rows: rows, max_segments=50)
    engine.bench = replace(engine.bench, loader=loader, stats=stats)
    engine.observer = Observers([watch])
    engine.run()
    loader.close()
    return engine


def test_changes_within_epochs_change_no_weight(
    segments: SegmentTable, place: Path, straight: Path
) -> None:
    dataset = dataset_of(Mode.eager, maker_of(segments), place / "cache")
    loader = make_loader(dataset, plan_of(START), device=torch.device("cpu"))
    watch = Recorder(on_batch=lambda n: loader.change(plan_of(SHAPES[n % 3]), "a test"))
    trained(segments, place / "changed", place / "cache", loader, watch)
    assert len(loader.changes) == watch.batches > 10
    assert same_weights(straight, place / "changed")


def test_stepping_down_to_the_cache_changes_no_weight(
    segments: SegmentTable, place: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LOOK_SHARE", float("inf"))
    maker, cache = maker_of(segments), place / "cache"
    guard = MemoryGuard(
        fallback=lambda rows, address_space: dataset_of(Mode.cached, maker, cache),
        probe=Told(*[500] * 10, 20),
        every_s=0,
    )
    loader = make_loader(
        dataset_of(Mode.eager, maker, cache),
        plan_of(START),
        device=torch.device("cpu"),
        guard=guard,
    )
    trained(segments, place / "stepped", cache, loader, Recorder())
    assert loader.dataset.mode is Mode.cached
    assert loader.name is Backend.inline
    assert len(loader.changes) == 4
    assert same_weights(straight, place / "stepped")
