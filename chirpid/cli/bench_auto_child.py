"""One training after another in a process that can be held to a slow disk: times in, times out.

Reads a line of JSON for each from standard input, writes one to standard output.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from chirpid import build
from chirpid.bench.auto.cgroups import forget_pages
from chirpid.bench.auto.torch_loader import TorchBackend
from chirpid.cli import advising
from chirpid.cli.prepare import Prepared, prepare, prepare_loader
from chirpid.cli.training import engine_of
from chirpid.config.store import compose
from chirpid.engine.observer import Observers, QuietObserver
from chirpid.engine.rule import FoldOutcome
from chirpid.errors import ChirpError
from chirpid.loading.factory import Loader
from chirpid.types import Backend


class _Epochs(QuietObserver):
    """When each epoch ended."""

    def __init__(self) -> None:
        self.ended_s: list[float] = []

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        self.ended_s.append(time.perf_counter())


def train(overrides: list[str], *, plain_torch: bool, folder: Path) -> dict[str, object]:
    """Train as told and return the seconds of each part."""
    resolved = compose(overrides)
    heard = io.StringIO()
    console = Console(file=heard, width=200, highlight=False, markup=False)
    begin_s = time.perf_counter()
    prepared = prepare(resolved.config, console, resolved.given)
    prepared_s = time.perf_counter()
    epochs = _Epochs()
    with contextlib.closing(_loader(prepared, console, plain_torch)) as loader:
        opened_s = time.perf_counter()
        (outcome,) = engine_of(prepared, loader, folder, Observers([epochs])).run()
    plan = prepared.plan
    return {
        "prepare_s": prepared_s - begin_s,
        "open_s": opened_s - prepared_s,
        "train_s": epochs.ended_s[-1] - opened_s,
        "total_s": epochs.ended_s[-1] - begin_s,
        "chosen": f"{prepared.config.mode.name.value}, {plan.backend.value.value}, "
        f"{plan.num_workers.value}",
        "predicted": {} if prepared.tuned is None else prepared.tuned.predicted(),
        "told": heard.getvalue().splitlines(),
        **advising.results(prepared, [outcome], whole=True),
        **_figures(outcome),
    }


def _figures(outcome: FoldOutcome) -> dict[str, object]:
    return {
        "samples_per_s": outcome.loader["loader/samples_per_s"],
        "wait_share": outcome.loader["loader/wait_share"],
        "loss": outcome.history[-1]["valid/loss"],
    }


def _loader(prepared: Prepared, console: Console, plain_torch: bool) -> Loader:
    if not plain_torch:
        return prepare_loader(prepared, console)
    table = prepared.segments
    paths = [Path(table.root, table.recordings[i]) for i in table.recording_N.tolist()]
    settings = build.frontend_settings(prepared.config)
    dataset = prepare_loader(prepared, console).dataset
    backend = TorchBackend(paths, prepared.maker.num_samples, settings, prepared.maker.spec)
    return Loader(dataset, backend, Backend.inline)


def main() -> None:
    """Serve until standard input ends."""
    for number, line in enumerate(sys.stdin):
        asked: dict[str, Any] = json.loads(line)
        place = Path(asked["place"]) / str(number)
        overrides = [*asked["overrides"], f"paths.outputs={place}"]
        if asked["recordings"]:
            forget_pages(Path(asked["recordings"]))
        try:
            told = train(overrides, plain_torch=asked["plain_torch"], folder=place)
        except ChirpError as error:
            told = {"refused": error.line()}
        if place.is_dir():  # or the next training of that number would find this one done
            shutil.rmtree(place)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
