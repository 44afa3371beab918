"""One training from settings to results: prepare the data, plan, run the folds, report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from chirpid.cli import advising, auto
from chirpid.cli.course import Course
from chirpid.cli.keeping import keepers_of
from chirpid.cli.prepare import Prepared, prepare, prepare_loader
from chirpid.cli.report import report_run
from chirpid.cli.sweep_report import report_job
from chirpid.cli.training import engine_of
from chirpid.config.paths import outputs_dir
from chirpid.config.resolve import Resolved, SweepInfo
from chirpid.engine.observer import Observers, QuietObserver
from chirpid.engine.precision import deterministic, threads
from chirpid.engine.results import make_results, pool, write_predictions, write_results
from chirpid.engine.run_folder import RunFolder, open_run_folder
from chirpid.errors import ChirpError, Interrupted, StorageError
from chirpid.reports.console import ConsoleObserver
from chirpid.reports.tracked import TrackedObserver
from chirpid.storage.atomic import write_text
from chirpid.tracking import Status, Tracker, open_tracker

if TYPE_CHECKING:
    from chirpid.engine.rule import FoldOutcome

SPLITS, CONFIG, PREDICTIONS, RESULTS = (
    "splits.csv", "config.yaml", "predictions.csv", "results.json",
)  # fmt: skip


def explain(resolved: Resolved) -> None:
    """Print the data, the folds and the plan with its reasons; train nothing."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    prepared = prepare(resolved.config, console, resolved.given)
    if prepared.tuned is not None:
        prepared.tuned.print_table(console)
    prepared.print_plan(console, full=True)
    prepared.check_fit()


def train(resolved: Resolved, sweep: SweepInfo | None = None) -> float | None:
    """Train all folds and return the optimised metric, the mean over folds.

    Raises:
        ChirpError: anything that a user can mend; what is done is kept.
    """
    config = resolved.config
    console = Console(highlight=False, soft_wrap=True, markup=False)
    outputs = outputs_dir(config.paths)
    prepared = prepare(config, console, resolved.given)
    prepared.check_fit()
    # Only now: what could not even be prepared leaves no folder behind.
    folder = open_run_folder(
        outputs, name=config.name, config_hash=resolved.result_hash, resume=config.resume
    )
    with contextlib.closing(folder), _status(folder):
        folder.check_data(prepared.folds.hash, prepared.data_hash)
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
            system_s=config.tracking.system_metrics_s if config.tracking.system_metrics else None,
        )
        with contextlib.closing(tracker):
            session = _Session(resolved, sweep, prepared, folder, tracker, console)
            return session.run()


@contextlib.contextmanager
def _status(folder: RunFolder) -> Iterator[None]:
    """Leave the folder's state true, however the run ends."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
        with contextlib.suppress(StorageError):  # on a full disk the first error is the one to tell
            folder.set_status("interrupted" if stopped else "failed")
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
    parent: str | None = None
    """Our id of the sweep's run."""
    course: Course | None = None
    """The plans that the epochs went under."""

    def run(self) -> float | None:
        """Run the folds inside the tracker's parent run."""
        run = self._start_tracking()
        try:
            results = self._train(run)
        except (Interrupted, KeyboardInterrupt):
            self._end_tracking(run, "KILLED")
            raise
        except Exception as error:
            line = error.line() if isinstance(error, ChirpError) else repr(error)
            self.tracker.set_tags(run, {"chirpid.error": line})
            self._end_tracking(run, "FAILED")
            raise
        self._end_tracking(run, "FINISHED")
        value = results["metrics"].get(self.resolved.config.metric, {}).get("mean")
        return None if value is None else float(value)

    def _train(self, run: str) -> dict[str, Any]:
        """Build the stores, run the folds and report them; return the results."""
        screen, begin_s = ConsoleObserver(self.console), time.perf_counter()
        tracked = TrackedObserver(self.tracker, run, self.folder.path)
        observers = Observers([screen, tracked, _Alive(self.folder)])
        with (
            contextlib.closing(screen),
            contextlib.closing(prepare_loader(self.prepared, self.console)) as loader,
            deterministic(self.resolved.config.engine.deterministic),
            threads(self.resolved.config.engine.num_threads),
        ):
            self.course = Course(loader)
            observers.members += [
                self.course, *keepers_of(loader, self.prepared, screen.say)
            ]  # fmt: skip
            outcomes = engine_of(
                self.prepared, loader, self.folder.path, observers, progress=screen.measured
            ).run()
            if loader.changes:
                self.tracker.set_tags(run, {"chirpid.loader_changes": "\n".join(loader.changes)})
            results = self._finish(run, outcomes, time.perf_counter() - begin_s)
            report_run(self.prepared, self.folder.path, outcomes, results, self.tracker, run,
                       loader, self.console)  # fmt: skip
            self._report_sweep(outcomes, results)
        return results

    def _report_sweep(self, outcomes: list[FoldOutcome], results: dict[str, Any]) -> None:
        if self.sweep is not None and self.parent is not None:
            config = self.resolved.config
            report_job(outcomes, results, sweep=self.sweep, outputs=outputs_dir(config.paths),
                       metric=config.metric, tracker=self.tracker, parent=self.parent)  # fmt: skip

    def _end_tracking(self, run: str, status: Status) -> None:
        self.tracker.end_run(run, status)
        if self.parent is not None:
            # The next job of the sweep opens it again.
            self.tracker.end_run(self.parent, "KILLED" if status == "KILLED" else "FINISHED")

    def _start_tracking(self) -> str:
        from chirpid.tracking.environment import environment, git_state

        if self.sweep:
            self.parent = self.tracker.find_or_start(
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
        name = self.sweep.name if self.sweep else ""
        run = self.tracker.start_run(name or self.folder.path.name, parent=self.parent, tags=tags)
        self.tracker.log_params(run, self.prepared.parameters(self.resolved))
        for file in (CONFIG, SPLITS):
            self.tracker.log_file(run, self.folder.path / file)
        if git.get("diff"):
            write_text(self.folder.path / "git.diff", git["diff"])
            self.tracker.log_file(run, self.folder.path / "git.diff")
        return run

    def _finish(self, run: str, outcomes: list[FoldOutcome], seconds: float) -> dict[str, Any]:
        """Write predictions.csv and results.json and return the latter's content."""
        config, prepared, path = self.resolved.config, self.prepared, self.folder.path
        pooled = pool(outcomes, prepared.task)
        write_predictions(path / PREDICTIONS, pooled, prepared.names_R, prepared.task.classes)
        whole = not self.folder.resumed
        self.tracker.flush(30.0)  # at once where the server is away or has all of it
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
            **(self.course.results() if self.course else {}),
            **auto.results(prepared, outcomes, seconds=seconds, whole=whole, course=self.course),
            **advising.results(prepared, outcomes, whole=whole, course=self.course),
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


class _Alive(QuietObserver):
    """Keeps the folder's state: after kill -9 it still knows how long the run has worked."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        self.folder.set_status("running")


def _short(path: Path) -> str:
    """Return the path as seen from the user's folder where it lies below it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
