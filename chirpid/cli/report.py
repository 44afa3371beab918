"""What a finished run shows: plots in its folder and the tracker, a table in the console."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from chirpid import build
from chirpid.cli import advising, tuned
from chirpid.cli.prepare import Prepared
from chirpid.engine.results import pool
from chirpid.engine.rule import FoldOutcome
from chirpid.engine.steps import Preparer
from chirpid.loading.factory import Loader
from chirpid.loading.monitor import EpochMonitor, mean_figures
from chirpid.reports.plots import (
    confusion_matrix,
    folds_overview,
    learning_curves,
    spectrogram_sheet,
)
from chirpid.reports.summary import summary
from chirpid.tracking import Tracker

SHEET_SEGMENTS = 12


def report_run(
    prepared: Prepared,
    folder: Path,
    outcomes: Sequence[FoldOutcome],
    results: dict[str, Any],
    tracker: Tracker,
    run: str,
    loader: Loader,
    console: Console,
) -> None:
    """Draw the plots, log them with the figures, and print the table."""
    plots = folder / "plots"
    pooled = pool(outcomes, prepared.task)
    title = f"{prepared.manifest.name}: recordings, all folds"
    confusion_matrix(
        pooled.confusion(), prepared.task.classes, plots / "confusion_matrix.png", title=title
    )
    learning_curves([o.history for o in outcomes], plots / "learning_curves.png")
    folds_overview(results, plots / "folds.png")
    _sheet(prepared, loader, plots / "spectrograms.png")
    for path in sorted(plots.glob("*.png")):
        tracker.log_file(run, path, folder="plots")
    for name in ("predictions.csv", "results.json"):
        tracker.log_file(run, folder / name)
    tracker.log_metrics(run, run_metrics(outcomes, results), step=0)
    console.print(summary(results, title=prepared.manifest.name))
    for line in (tuned.achieved_line(results), advising.line(results)):
        if line is not None:
            console.print(line)
    if told := advising.tags(results):
        tracker.set_tags(run, told)
    if results["leaky"]:
        console.print("These folds leak, on purpose: groups are on both sides. Do not report them.")
    if results["optimistic"]:
        console.print("Optimistic: the epoch was chosen on the fold that it is reported for.")
    if results["synthetic"]:
        console.print("Synthetic birds: the scores only show that all of it works.")
    where = folder
    with contextlib.suppress(ValueError):
        where = folder.relative_to(Path.cwd())
    console.print(f"{where}: results.json, predictions.csv, splits.csv, plots, models")


def run_metrics(outcomes: Sequence[FoldOutcome], results: dict[str, Any]) -> dict[str, float]:
    """Return what the parent run shows: mean, deviation and pooled scores, loader figures."""
    figures: dict[str, float] = {"wall_s": float(results["wall_s"])}
    for name, values in results["metrics"].items():
        for kind in ("mean", "std", "pooled"):
            if values.get(kind) is not None:
                figures[name if kind == "mean" else f"{name}/{kind}"] = float(values[kind])
    figures |= mean_figures([one.loader for one in outcomes])
    return figures | tuned.metrics(results) | advising.metrics(results)


def _sheet(prepared: Prepared, loader: Loader, path: Path) -> None:
    """Draw training segments as the model sees them in the first epoch, augmented."""
    config, task = prepared.config, prepared.task
    rule = prepared.rule
    train = prepared.folds.train_ids(config.cv.folds[0] if config.cv.folds else 0)
    ids = rule.train_epoch(train, task.key_N, 0).batches[0][:SHEET_SEGMENTS]
    device = torch.device("cpu")
    model = build.model_maker(config, task.classes)()
    prepare = Preparer(model, task, rule.augment, device, rule.seed)
    batch = next(iter(loader.run([ids])))
    batch.inputs = batch.inputs.cpu()
    inputs, target = prepare.to_device(batch, EpochMonitor())
    # Statistics of the sheet itself: the picture is the same for every fold.
    spec = model.centred(inputs)
    model.normaliser.set(spec.mean(dim=(0, 2)), spec.std(dim=(0, 2)))
    spec, _ = prepare.augmented(batch, inputs, target, 0)
    titles = [f"{task.classes[task.label_N[i]]}\n{task.name(i)}" for i in ids.tolist()]
    spectrogram_sheet(
        spec.numpy().astype(np.float32),
        titles,
        path,
        hop_s=config.frontend.hop_samples / config.frontend.sample_rate_hz,
        mel_hz=model.frontend.mel_hz().double().numpy(),
        title="What the model sees: the first training batch, augmented",
    )
