"""MLflow as a place to send to: explicit run ids, batches, and errors sorted into two kinds.

Importing this module imports mlflow, which takes seconds: only processes that send do it.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from chirpid.tracking.sent import locked
from chirpid.tracking.target import ARTIFACTS, Target
from chirpid.tracking.views import view_key, view_tag

RUN_TAG = "chirpid.run"
SWEEP_TAG = "chirpid.sweep"
NOTE_TAG = "mlflow.note.content"
_MOST_METRICS = 1000  # per request, of MLflow
_MOST_PARAMS = 100
_LOCK_S = 120.0  # creating the tables of a store takes some seconds on a slow disk

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Retries are ours: MLflow's would keep a dead server's caller for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE",
             "RESOURCE_ALREADY_EXISTS")  # fmt: skip


T = TypeVar("T")


class Away(Exception):  # noqa: N818 - it is a state, not a fault
    """Nothing can be sent now; trying again later may help."""


class Refused(Exception):  # noqa: N818
    """The server is there and will never take this item."""


class MlflowStore:
    """One experiment of one MLflow store.

    Raises:
        Away: the store cannot be reached or used.
    """

    def __init__(self, target: Target) -> None:
        os.environ.update(_QUIET, MLFLOW_HTTP_REQUEST_TIMEOUT=str(max(1, round(target.timeout_s))))
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        self._target = target
        with _sorted_errors(always_away=True), self._lock():
            self._client = MlflowClient(tracking_uri=target.address)
            self._experiment_id = self._find_experiment()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes of this machine from creating the same thing at the same time."""
        with locked(self._target.lock_file, timeout_s=_LOCK_S) as held:
            if not held:
                raise Away(f"{self._target.lock_file} is held by another process")
            yield

    def _find_experiment(self) -> str:
        name, database = self._target.experiment, self._target.sqlite_file
        found = self._client.get_experiment_by_name(name)
        if found is None:
            place = None if database is None else (database.parent / ARTIFACTS).absolute().as_uri()
            # The kind opens the pages of model training, not those of language models.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return str(self._client.create_experiment(name, artifact_location=place, tags=kind))
        if found.lifecycle_stage != "active":
            raise Away(f"experiment '{name}' is deleted there: restore it or set another one")
        return str(found.experiment_id)

    def find_or_create_run(
        self, run: str, name: str, *, tags: Mapping[str, str], start_ms: int, shared: bool
    ) -> str:
        """Return the id of the MLflow run tagged with our id, which is created if there is none."""
        with _sorted_errors(), self._lock() if shared else contextlib.nullcontext():
            found = self._client.search_runs(
                [self._experiment_id], f"tags.`{RUN_TAG}` = '{run}'", max_results=1,
                order_by=["attributes.start_time ASC"],
            )  # fmt: skip
            if found:
                self._client.update_run(found[0].info.run_id, status="RUNNING")
                return str(found[0].info.run_id)
            own = {"mlflow.user": _user(), "mlflow.source.name": "chirpid", RUN_TAG: run}
            created = self._client.create_run(
                self._experiment_id, start_time=start_ms, run_name=name, tags={**own, **tags}
            )
            return str(created.info.run_id)

    def set_running(self, run_id: str) -> None:
        with _sorted_errors():
            self._client.update_run(run_id, status="RUNNING")

    def end_run(self, run_id: str, status: str, end_ms: int) -> None:
        with _sorted_errors():
            self._client.set_terminated(run_id, status, end_time=end_ms)

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        metrics: Sequence[tuple[str, float, int, int]],
    ) -> list[str]:
        """Send all of it and return what was refused, one line each.

        Args:
            metrics: name, value, time in ms since 1970, step. The time makes sending again
                harmless: MLflow keeps equal points once.
        """
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(clean_name(n), v, t, s) for n, v, t, s in metrics]
        settings = [Param(clean_name(n), v) for n, v in params.items()]
        marks = [RunTag(n, self.fill(v, run_id) if n == NOTE_TAG else v) for n, v in tags.items()]
        send = self._client.log_batch
        refused: list[str] = []
        for some in _chunks(points, _MOST_METRICS):
            refused += _piecewise(some, lambda items: send(run_id, metrics=items))
        for part in _chunks(settings, _MOST_PARAMS):
            refused += _piecewise(part, lambda items: send(run_id, params=items))
        for few in _chunks(marks, _MOST_PARAMS):
            refused += _piecewise(few, lambda items: send(run_id, tags=items))
        return refused

    def fill(self, text: str, run_id: str) -> str:
        """Return `text` with our placeholders replaced by the ids that the server gave."""
        ids = {"{{mlflow.run_id}}": run_id, "{{mlflow.experiment_id}}": self._experiment_id,
               "{{chirpid.view}}": view_key(run_id)}  # fmt: skip
        for name, value in ids.items():
            text = text.replace(name, value)
        return text

    def save_view(self, run_id: str, name: str, charts: Sequence[str]) -> None:
        """Save a page of charts of the runs below a run; MLflow lists it under Views."""
        with _sorted_errors():
            self._client.set_experiment_tag(
                self._experiment_id, *view_tag(run_id, name, charts, now_ms=time.time_ns() // 10**6)
            )

    def log_file(self, run_id: str, path: Path, folder: str) -> None:
        """Upload a file; sending it again replaces it."""
        with _sorted_errors():
            self._client.log_artifact(run_id, str(path), folder or None)


def clean_name(name: str) -> str:
    """Return `name` with characters that MLflow does not take as underscores."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]


def _piecewise(items: list[T], send: Callable[[list[T]], object]) -> list[str]:
    """Send items at once; if that is refused, one by one, to lose only the bad ones."""
    try:
        with _sorted_errors():
            send(items)
    except Refused as whole:
        if len(items) == 1:
            return [str(whole)]
        return [line for item in items for line in _piecewise([item], send)]
    return []


def _chunks(items: list[T], most: int) -> Iterator[list[T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers may run as a user without a name
        return "unknown"


@contextlib.contextmanager
def _sorted_errors(*, always_away: bool = False) -> Iterator[None]:
    """Turn what mlflow and its libraries raise into `Away` or `Refused`, with one short line."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        kind = Refused if error.error_code in _REFUSALS and not always_away else Away
        raise kind(_short(error)) from error
    except RequestException as error:
        status = error.response.status_code if error.response is not None else 0
        final = 400 <= status < 500 and status not in (401, 403, 408, 425, 429)
        raise (Refused if final and not always_away else Away)(_short(error)) from error
    except (SQLAlchemyError, OSError) as error:
        raise Away(_short(error)) from error


def _short(error: Exception) -> str:
    """Return the first line of an error, in plain words where it is a common one."""
    text = str(error)
    for sign, words in (("Connection refused", "connection refused"),
                        ("timed out", "no answer in time"),
                        ("Name or service not known", "unknown host"),
                        ("NameResolutionError", "unknown host"),
                        ("database is locked", "the database is locked"),
                        ("out-of-date database schema", "its database is of an older MLflow: run"
                         " `mlflow db upgrade` on it")):  # fmt: skip
        if sign in text:
            return words
    line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return line if len(line) <= 200 else line[:199] + "…"
