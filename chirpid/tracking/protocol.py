"""What the engine asks of a tracker, and the tracker that tracks nothing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from chirpid.tracking.steps import Series

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ended, in MLflow's words."""

_NONE: Mapping[str, str] = {}


def new_run_id() -> str:
    """Return a run id of ours: valid at once, with or without a server."""
    return uuid.uuid4().hex


class Tracker(Protocol):
    """Takes what a run has to tell. No call waits for a server or raises because one is away.

    Run ids are ours, not the server's. One thread of one process writes to a tracker.
    """

    def start_run(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str] = _NONE
    ) -> str:
        """Return the id of a new run, below `parent` if given.

        When the run folder was used before (a resumed training), a run of the same name and
        parent is continued: its id comes back, and the server goes on with the same MLflow run.
        """
        ...

    def find_or_start(self, key: str, name: str, *, tags: Mapping[str, str] = _NONE) -> str:
        """Return the id of the one run that all who know `key` share: the parent of a sweep."""
        ...

    def log_params(self, run: str, params: Mapping[str, object]) -> None:
        """Set parameters. A parameter keeps the first value that it was given."""
        ...

    def log_metrics(self, run: str, metrics: Mapping[str, float], *, step: int) -> None:
        """Add one point to each of the metrics."""
        ...

    def log_series(self, run: str, series: Series) -> None:
        """Add many points at once, each with a step and a time of its own."""
        ...

    def log_file(self, run: str, path: Path, *, folder: str = "") -> None:
        """Attach a file as an artifact in `folder`. It must stay where it is until it is sent."""
        ...

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags; the last value counts.

        In the description (`mlflow.note.content`) the server's ids stand for
        `{{mlflow.run_id}}` and `{{mlflow.experiment_id}}`.
        """
        ...

    def save_view(self, run: str, name: str, charts: Sequence[str]) -> None:
        """Save a page of charts, one for each metric, that compares the runs below this one."""
        ...

    def end_run(self, run: str, status: Status) -> None:
        """Close the run. Starting it again continues it."""
        ...

    def server_run_id(self, run: str) -> str | None:
        """Return MLflow's id of the run, None while no server has it."""
        ...

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is sent, at most `timeout_s`; return whether it is."""
        ...

    def close(self) -> None:
        """End what is still open, send what can be sent, say what is left. May be called twice."""
        ...


class OffTracker:
    """Tracks nothing (tracking=off)."""

    def start_run(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str] = _NONE
    ) -> str:
        return new_run_id()

    def find_or_start(self, key: str, name: str, *, tags: Mapping[str, str] = _NONE) -> str:
        return new_run_id()

    def log_params(self, run: str, params: Mapping[str, object]) -> None:
        pass

    def log_metrics(self, run: str, metrics: Mapping[str, float], *, step: int) -> None:
        pass

    def log_series(self, run: str, series: Series) -> None:
        pass

    def log_file(self, run: str, path: Path, *, folder: str = "") -> None:
        pass

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        pass

    def save_view(self, run: str, name: str, charts: Sequence[str]) -> None:
        pass

    def end_run(self, run: str, status: Status) -> None:
        pass

    def server_run_id(self, run: str) -> str | None:
        return None

    def flush(self, timeout_s: float) -> bool:
        return True

    def close(self) -> None:
        pass
