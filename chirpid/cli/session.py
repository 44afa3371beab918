"""One training from settings to results: prepare the data, plan, run the folds, report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from chirpid import build
from chirpid.cli.prepare import Prepared, prepare, prepare_loader
from chirpid.cli.report import report_run
from chirpid.config.paths import outputs_dir
from chirpid.config.resolve import Resolved, SweepInfo
from chirpid.data.splits import inner_split
from chirpid.data.stats import BandStats
from chirpid.engine.engine import TrainingEngine, Workbench
from chirpid.engine.observer import Observers
from chirpid.engine.results import make_results, pool, write_predictions, write_results
from chirpid.engine.run_folder import RunFolder, open_run_folder
from chirpid.errors import ChirpError, Interrupted
from chirpid.reports.console import ConsoleObserver
from chirpid.reports.tracked import TrackedObserver
from chirpid.seeds import mix64
from chirpid.storage.atomic import write_text
from chirpid.tracking import Tracker, open_tracker
from chirpid.types import IntArray

if TYPE_CHECKING:
    from chirpid.engine.rule import FoldOutcome

SPLITS, CONFIG, PREDICTIONS, RESULTS = (
    "splits.csv", "config.yaml", "predictions.csv", "results.json",
)  # fmt: skip


def explain(resolved: Resolved) -> None:
    """Print the data, the folds and the plan with its reasons; train nothing."""
    console = Console(highlight=False, soft_wrap=True)
    prepared = prepare(resolved.config, console)
    prepared.print_plan(console, full=True)


def train(resolved: Resolved, sweep: SweepInfo | None = None) -> float | None:
    """Train all folds and return the optimised metric, the mean over folds.

    Raises:
        ChirpError: anything that a user can mend; what is done is kept.
    """
    config = resolved.config
    console = Console(highlight=False, soft_wrap=True)
    outputs = outputs_dir(config.paths)
    prepared = prepare(config, console)
    # Only now: what could not even be prepared leaves no folder behind.
    folder = open_run_folder(
        outputs, name=config.name, config_hash=resolved.result_hash, resume=config.resume
    )
    with contextlib.closing(folder), _status(folder):
        folder.check_split(prepared.folds.hash)
        folder.set_status("running")
        word = "going on in" if folder.resumed else "run folder"
        console.print(f"{word}: {_short(folder.path)}")
        prepared.print_plan(console, full=False)
        write_text(folder.path / CONFIG, resolved.yaml)
        prepared.write_splits(folder.path / SPLITS)
        tracker = open_tracker(
            config.tracking.kind.value,
            folder=folder.path,
            outputs=outputs,
            uri=config.tracking.uri,
            experiment=config.tracking.experiment,
            timeout_s=config.tracking.timeout_s,
            say=console.print,
        )
        with contextlib.closing(tracker):
            session = _Session(resolved, sweep, prepared, folder, tracker, console)
            return session.run()


@contextlib.contextmanager
def _status(folder: RunFolder) -> Iterator[None]:
    """Leave the folder's state true, however the run ends."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        folder.set_status("interrupted")
        raise
    except BaseException:
        folder.set_status("failed")
        raise
    folder.set_status("finished")


@dataclass(slots=True)
class _Session:
    resolved: Resolved
    sweep: SweepInfo | None
    prepared: Prepared
    folder: RunFolder
    tracker: Tracker
    console: Console

    def run(self) -> float | None:
        """Run the folds inside the tracker's parent run."""
        run = self._start_tracking()
        screen = ConsoleObserver(self.console)
        loader = prepare_loader(self.prepared, self.console)
        try:
            observers = Observers([screen, TrackedObserver(self.tracker, run, self.folder.path)])
            outcomes = self._engine(loader, observers).run()
            results = self._finish(run, outcomes)
            report_run(self.prepared, self.folder.path, outcomes, results, self.tracker, run,
                       loader, self.console)  # fmt: skip
        except (Interrupted, KeyboardInterrupt):
            self.tracker.end_run(run, "KILLED")
            raise
        except ChirpError as error:
            self.tracker.set_tags(run, {"chirpid.error": error.line()})
            self.tracker.end_run(run, "FAILED")
            raise
        finally:
            screen.close()
            loader.close()
        self.tracker.end_run(run, "FINISHED")
        value = results["metrics"].get(self.resolved.config.metric, {}).get("mean")
        return None if value is None else float(value)

    def _engine(self, loader: Any, observers: Observers) -> TrainingEngine:
        config, prepared = self.resolved.config, self.prepared
        make_model = build.model_maker(config, prepared.task.classes)
        like = make_model()
        bench = Workbench(
            task=prepared.task,
            folds=prepared.folds,
            loader=loader,
            device=prepared.device,
            make_model=make_model,
            normalise=config.frontend.normalise.value,
            stats=BandStats(
                loader.dataset,
                prepared.task.key_N,
                like.centred,
                max_segments=config.frontend.stats_segments,
            ),
            folder=self.folder.path,
        )
        if config.engine.num_threads:
            torch.set_num_threads(config.engine.num_threads)
        return TrainingEngine(
            bench,
            build.train_rule(config),
            observer=observers,
            only=config.cv.folds,
            inner_split=self._inner_split,
        )

    def _inner_split(self, ids: IntArray, fold: int) -> tuple[IntArray, IntArray]:
        prepared, config = self.prepared, self.resolved.config
        return inner_split(
            ids,
            prepared.task.label_N,
            prepared.folds.unit_N,
            fraction=config.engine.inner_fraction,
            seed=int(mix64(config.seed, fold) >> np.uint64(1)),
        )

    def _start_tracking(self) -> str:
        from chirpid.tracking.environment import environment, git_state

        parent = None
        if self.sweep:
            parent = self.tracker.find_or_start(
                self.sweep.id, f"sweep {self.sweep.id}", tags={"chirpid.kind": "sweep"}
            )
        git = git_state(Path.cwd())
        tags = {
            "chirpid.kind": "cross-validation",
            "chirpid.folder": str(self.folder.path),
            "chirpid.config_hash": self.resolved.result_hash,
            "chirpid.split_hash": self.prepared.folds.hash,
            "chirpid.overrides": " ".join(self.resolved.overrides),
            **{f"env.{k}": v for k, v in environment().items()},
            **{f"git.{k}": v for k, v in git.items() if k != "diff"},
        }
        name = " ".join(self.sweep.overrides) if self.sweep else self.folder.path.name
        run = self.tracker.start_run(name or self.folder.path.name, parent=parent, tags=tags)
        self.tracker.log_params(run, self.prepared.parameters(self.resolved))
        for file in (CONFIG, SPLITS):
            self.tracker.log_file(run, self.folder.path / file)
        if git.get("diff"):
            write_text(self.folder.path / "git.diff", git["diff"])
            self.tracker.log_file(run, self.folder.path / "git.diff")
        return run

    def _finish(self, run: str, outcomes: list[FoldOutcome]) -> dict[str, Any]:
        """Write predictions.csv and results.json and return the latter's content."""
        config, prepared, path = self.resolved.config, self.prepared, self.folder.path
        pooled = pool(outcomes, prepared.task)
        write_predictions(path / PREDICTIONS, pooled, prepared.names_R, prepared.task.classes)
        self.tracker.flush(5.0)
        facts = {
            "split_hash": prepared.folds.hash,
            "config_hash": self.resolved.result_hash,
            "split": prepared.folds.kind,
            "leaky": prepared.folds.leaky,
            "optimistic": config.engine.selection.value == "fold",
            "synthetic": prepared.manifest.synthetic,
            "wall_s": round(self.folder.wall_s, 3),
            "mlflow_run_id": self.tracker.server_run_id(run),
            "finished_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        results = make_results(
            outcomes,
            pooled,
            bootstrap_samples=config.engine.bootstrap_samples,
            seed=config.seed,
            facts=facts,
        )
        write_results(path / RESULTS, results)
        return results


def _short(path: Path) -> str:
    """Return the path as seen from the user's folder where it lies below it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
