"""Several runs from one command: Hydra's sweepers and launchers, with all jobs checked first."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from chirpid.cli.train import run_one
from chirpid.config.overrides import parse_overrides, tidy_overrides
from chirpid.config.paths import user_path
from chirpid.config.resolve import SweepInfo
from chirpid.config.store import CONFIG_NAME, Composed, compose, compose_raw, search_path
from chirpid.config.translate import as_config_error
from chirpid.errors import ChirpError, ConfigError, Interrupted
from chirpid.reports.sweep import SweepJob, headline_of, read_jobs

_MEASURED = ("samples/s", "waiting", "bound by")
MAX_CHECKED_JOBS = 64
"""Checking a job takes a tenth of a second; past this many the first ones speak for the rest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    overrides: tuple[str, ...]
    metric: float | None
    error: ChirpError | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """What Hydra calls for each job; launchers pickle it to other processes and machines."""

    sweep_id: str
    num_jobs: int | None
    config_dir: Path | None
    in_process: bool
    """Outcomes reach us directly, and a failed job need not stop the sweep by an exception."""
    shared: frozenset[str] = frozenset()
    """Overrides that all jobs have."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Filled where jobs run in this process; others report through Hydra's return values."""

    def __call__(self, _: DictConfig) -> float | None:
        """Run one job; composed anew, so that the origin of each value is known here, too."""
        hydra = HydraConfig.get()
        overrides = tuple(hydra.overrides.task)
        name = " ".join(text for text in overrides if text not in self.shared)
        sweep = SweepInfo(self.sweep_id, int(hydra.job.num), self.num_jobs, overrides, name)
        of = f" of {self.num_jobs}" if self.num_jobs else ""
        print(f"\njob {sweep.job + 1}{of}: {' '.join(overrides)}", flush=True)
        start = time.monotonic()
        try:
            metric = run_one(compose(overrides, config_dir=self.config_dir), sweep)
        except Interrupted as interrupt:
            # Hydra goes on with the next job after any Exception; Ctrl-C means all of them.
            raise KeyboardInterrupt(str(interrupt)) from interrupt
        except ChirpError as error:
            if not self.in_process:
                raise
            print(error.line(), flush=True)
            self.outcomes.append(Outcome(overrides, None, error, time.monotonic() - start))
            return None
        self.outcomes.append(Outcome(overrides, metric, None, time.monotonic() - start))
        return metric


def run_sweep(overrides: Sequence[str], *, config_dir: Path | None = None) -> int:
    """Run all jobs, print how each ended, and return 0.

    Raises:
        ConfigError: any job is wrong; found before the first one starts.
        ChirpError: a job failed; the others have run.
    """
    composed = compose_raw(overrides, config_dir=config_dir, sweep=True)
    given = tidy_overrides(overrides)
    jobs = grid_of(composed, given)
    for job in (jobs or [])[:MAX_CHECKED_JOBS]:
        _check_job(job, config_dir)
    sweep_id = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"
    num_jobs = None if jobs is None else len(jobs)
    shared = frozenset(set.intersection(*map(set, jobs))) if jobs and len(jobs) > 1 else frozenset()
    task = Job(sweep_id, num_jobs, config_dir, jobs is not None and _runs_here(composed), shared)
    try:
        returned = _multirun(task, [*given, *_hydra_overrides(composed, given, sweep_id)])
        if not task.outcomes:
            task.outcomes.extend(_outcomes_of(returned))
    finally:
        outputs = user_path(str(OmegaConf.select(composed.settings, "paths.outputs")))
        told = read_jobs(outputs / "sweeps" / sweep_id)
        print_outcomes(task.outcomes, str(composed.settings.get("metric", "metric")), told)
    for outcome in task.outcomes:
        if outcome.error is not None:
            raise outcome.error
    return 0


def grid_of(composed: Composed, overrides: Sequence[str]) -> list[list[str]] | None:
    """Return the overrides of each job in order; None if the sweeper decides as it goes."""
    target = str(OmegaConf.select(composed.hydra, "sweeper._target_"))
    if not target.endswith("BasicSweeper"):
        return None
    params = OmegaConf.select(composed.hydra, "sweeper.params") or {}
    texts = [f"{key}={value}" for key, value in params.items()]
    texts += [text for text in overrides if not text.startswith(("hydra.", "hydra/"))]
    parsed = parse_overrides(texts, composed.loader, sweep=True)
    try:
        return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
    except HydraException as error:  # an interval, which only other sweepers can draw from
        raise as_config_error(error) from error


def print_outcomes(outcomes: Sequence[Outcome], metric: str, told: Sequence[SweepJob] = ()) -> None:
    """Print one row a job: what set it apart, its metric, its time; and which loaded fastest.

    Args:
        told: what the jobs measured; one that failed is not among them.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not outcomes:
        return
    common = set.intersection(*(set(one.overrides) for one in outcomes))
    shared = common if len(outcomes) > 1 else set()
    title = f"Sweep of {len(outcomes)} jobs, {metric}"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("job", justify="right")
    table.add_column("settings", overflow="fold")
    table.add_column(metric.rpartition("/")[2], justify="right", overflow="fold")
    table.add_column("seconds", justify="right")
    measured = {job.overrides: job for job in told}
    for column in _MEASURED if told else ():
        table.add_column(column, justify="right")
    for number, one in enumerate(outcomes, start=1):
        settings = " ".join(text for text in one.overrides if text not in shared)
        result = "" if one.metric is None else f"{one.metric:.4f}"
        result = "failed" if one.error is not None else result
        job = measured.get(one.overrides)
        figures = () if job is None else (
            f"{job.samples_per_s:.0f}", f"{job.wait_share:.1%}", job.bound_by.partition(",")[0]
        )  # fmt: skip
        table.add_row(str(number), escape(settings), result, f"{one.seconds:.1f}", *figures)
    Console().print(table)
    if len(told) > 1:
        Console(highlight=False, soft_wrap=True).print(escape("; ".join(headline_of(told))))


def _check_job(job: Sequence[str], config_dir: Path | None) -> None:
    try:
        compose(job, config_dir=config_dir)
    except ConfigError as error:
        raise ConfigError(f"job {' '.join(job)}: {error}") from error


def _runs_here(composed: Composed) -> bool:
    return str(OmegaConf.select(composed.hydra, "launcher._target_")).endswith(".BasicLauncher")


def _hydra_overrides(composed: Composed, given: Sequence[str], sweep_id: str) -> list[str]:
    extra = []
    if not any(text.startswith("hydra.mode=") for text in given):
        extra.append("hydra.mode=MULTIRUN")
    if not any(text.startswith("hydra.sweep.dir=") for text in given):
        outputs = str(OmegaConf.select(composed.settings, "paths.outputs"))
        folder = str(user_path(outputs) / "sweeps" / sweep_id).replace("'", "\\'")
        extra.append(f"hydra.sweep.dir='{folder}'")
    return extra


def _multirun(task: Job, overrides: list[str]) -> list[Sequence[JobReturn]]:
    try:
        hydra = Hydra.create_main_hydra2("chirpid", search_path(task.config_dir))
        return list(hydra.multirun(CONFIG_NAME, task, overrides) or [])
    finally:
        GlobalHydra.instance().clear()


def _outcomes_of(returned: Sequence[Sequence[JobReturn]]) -> list[Outcome]:
    jobs = [job for batch in returned if isinstance(batch, Sequence) for job in batch]
    return [Outcome(tuple(job.overrides or ()), job.return_value, None, 0.0) for job in jobs]
