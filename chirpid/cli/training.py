"""The engine of what was prepared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chirpid import build
from chirpid.cli.prepare import Prepared
from chirpid.data.stats import BandStats
from chirpid.engine.engine import TrainingEngine, Workbench
from chirpid.engine.observer import Observers
from chirpid.loading.factory import Loader


def engine_of(
    prepared: Prepared,
    loader: Loader,
    folder: Path,
    observers: Observers,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingEngine:
    """Return what runs the folds.

    Args:
        folder: where checkpoints and models go.
        progress: told of (done, total) segments while statistics are measured.
    """
    config = prepared.config
    make_model = build.model_maker(config, prepared.task.classes)
    bench = Workbench(
        task=prepared.task,
        folds=prepared.folds,
        loader=loader,
        device=prepared.device,
        make_model=make_model,
        normalise=config.frontend.normalise.value,
        stats=BandStats(
            loader.run,
            prepared.task.key_N,
            make_model().centred,
            max_segments=config.frontend.stats_segments,
            progress=progress,
        ),
        folder=folder,
    )
    return TrainingEngine(
        bench,
        prepared.rule,
        observer=observers,
        only=config.cv.folds,
        inner_split=prepared.inner_split,
    )
