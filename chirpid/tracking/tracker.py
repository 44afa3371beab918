"""The tracker of a training: writes a journal, and has another process send it to MLflow."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path

from chirpid.tracking.journal import JOURNAL, VERSION, JournalWriter, read_events
from chirpid.tracking.protocol import OffTracker, Status, Tracker, new_run_id
from chirpid.tracking.sent import RECORD, Sent, load_sent
from chirpid.tracking.steps import Series
from chirpid.tracking.target import Target, parse_target

_NONE: Mapping[str, str] = {}
_PATIENCE_S = 60.0  # close() waits so long for a sender that makes no progress
_MOST_SENDERS = 3


def open_tracker(
    kind: str,
    *,
    folder: Path,
    outputs: Path,
    uri: str | None = None,
    experiment: str = "chirpid",
    timeout_s: float = 10.0,
    say: Callable[[str], None] = print,
    send: bool = True,
    system_s: float | None = None,
) -> Tracker:
    """Return the tracker of the run in `folder`. Close it at the end.

    Args:
        kind: `mlflow` or `off`.
        folder: the run folder; the journal of an earlier session in it is continued.
        outputs: folder of the local store (`mlflow.db`, `mlartifacts`).
        uri: an MLflow server; None is the local store.
        timeout_s: a server that is silent for longer is away.
        say: takes one line for the user, each at most once.
        send: False only writes the journal, for `chirpid sync` from a machine with a network.
        system_s: figures of the machine are logged so often, by the process that sends; None
            logs none.
    Raises:
        ConfigError: `uri` is no address.
        StorageError: `folder` cannot be written.
    """
    if kind == "off":
        return OffTracker()
    if kind != "mlflow":
        raise ValueError(f"kind={kind!r} is not 'mlflow' or 'off'.")
    target, secrets = parse_target(uri, outputs=outputs, experiment=experiment, timeout_s=timeout_s)
    return JournalTracker(folder, target, secrets=secrets, say=say, send=send,
                          system_s=system_s)  # fmt: skip


class JournalTracker:
    """See `protocol.Tracker`. Logging costs one system call; it never waits for a server."""

    def __init__(
        self,
        folder: Path,
        target: Target,
        *,
        secrets: Mapping[str, str] = _NONE,
        say: Callable[[str], None] = print,
        send: bool = True,
        system_s: float | None = None,
    ) -> None:
        self.folder = folder
        self._target = target
        self._secrets = secrets
        self._say = say
        self._told: set[str] = set()
        self._closed = False
        self._sent = Sent()
        self._sent_stamp: tuple[int, int] | None = None
        self._num_senders = 0 if send else _MOST_SENDERS
        self._sender: subprocess.Popen[bytes] | None = None
        self._journal = JournalWriter(folder / JOURNAL)
        self._earlier = _earlier_runs(folder)
        self._open: dict[str, None] = {}
        self._write(
            kind="open", version=VERSION, uri=target.uri, experiment=target.experiment,
            timeout_s=target.timeout_s, outputs=os.path.relpath(target.outputs, folder),
            system_s=system_s,
        )  # fmt: skip
        self._keep_sending()  # only now: the sender reads from the opening where to send

    def start_run(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str] = _NONE
    ) -> str:
        run = self._earlier.pop((name, parent), None)
        if run is not None:
            self._open[run] = None
            self._write(kind="resume", run=run)
            self.set_tags(run, tags)
            return run
        run = new_run_id()
        self._begin(run, name, parent, tags, shared=False)
        return run

    def find_or_start(self, key: str, name: str, *, tags: Mapping[str, str] = _NONE) -> str:
        run = hashlib.blake2b(f"chirpid.sweep:{key}".encode(), digest_size=16).hexdigest()
        self._begin(run, name, None, {**tags, "chirpid.sweep": key}, shared=True)
        return run

    def _begin(
        self, run: str, name: str, parent: str | None, tags: Mapping[str, str], *, shared: bool
    ) -> None:
        self._open[run] = None
        self._write(kind="start", run=run, name=name, parent=parent, shared=shared,
                    tags={k: str(v) for k, v in tags.items()})  # fmt: skip

    def log_params(self, run: str, params: Mapping[str, object]) -> None:
        self._write(kind="params", run=run, values=dict(_flat(params)))

    def log_metrics(self, run: str, metrics: Mapping[str, float], *, step: int) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        self._write(kind="metrics", run=run, step=int(step), values=values)

    def log_series(self, run: str, series: Series) -> None:
        self._write(kind="series", run=run, steps=series.steps, times=series.times_ms,
                    values=series.values)  # fmt: skip

    def log_file(self, run: str, path: Path, *, folder: str = "") -> None:
        path = Path(os.path.abspath(path))
        inside = path.is_relative_to(os.path.abspath(self.folder))
        # A path below the run folder stays valid when the outputs are moved.
        kept = os.path.relpath(path, self.folder) if inside else str(path)
        self._write(kind="file", run=run, path=kept, folder=folder)

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        if tags:
            self._write(kind="tags", run=run, values={k: str(v) for k, v in tags.items()})

    def save_view(self, run: str, name: str, charts: Sequence[str]) -> None:
        self._write(kind="view", run=run, name=name, charts=list(charts))

    def end_run(self, run: str, status: Status) -> None:
        self._open.pop(run, None)
        self._write(kind="end", run=run, status=status)

    def server_run_id(self, run: str) -> str | None:
        self._look()
        return self._sent.runs.get(run)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is sent; give up at once while the server is known to be away."""
        deadline = time.monotonic() + timeout_s
        while not self._all_sent():
            alive = self._keep_sending()
            if not alive or self._sent.trouble or time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        if self._closed:
            return
        for run in list(self._open):
            self.end_run(run, "KILLED")
        self._write(kind="close")
        self._closed = True
        position = -1
        while not self.flush(_PATIENCE_S) and self._sent.position > position:
            position = self._sent.position
        done = self._all_sent()
        self._journal.close()
        if self._sender is not None:
            if not done:
                self._sender.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._sender.wait(_PATIENCE_S)  # it still sends the last figures of the machine
            self._sender.kill()
            self._sender.wait()
        if not done and not self._sent.trouble:  # else it was told
            self._tell(
                "unsent", f"Tracking: not all was sent to {self._target.shown}. {self._hint}"
            )

    @property
    def _hint(self) -> str:
        return f"Nothing is lost; send it with: chirpid sync {self.folder}"

    def _write(self, **event: object) -> None:
        if self._closed:
            raise ValueError("the tracker is closed.")
        self._journal.append(event)
        if self._journal.trouble:
            self._tell("journal", f"Tracking: {self._journal.trouble} Kept in memory for now.")
        if self._sender is not None:
            self._keep_sending()

    def _start_sender(self) -> subprocess.Popen[bytes]:
        """Start the process that sends; only its files are shared with this one."""
        self._num_senders += 1
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        # -P: a file of the user's that is named like a library must not be taken for it.
        command = [sys.executable, "-P", "-m", "chirpid.tracking.sender", str(self.folder),
                   str(os.getpid())]  # fmt: skip
        return subprocess.Popen(
            command, env={**os.environ, **self._secrets, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def _keep_sending(self) -> bool:
        """Pass on what the sender has to say, replace one that died; return whether one lives."""
        self._look()
        if self._sent.trouble:
            self._tell("away", f"Tracking: {self._target.shown} is away ({self._sent.trouble})."
                       f" Training goes on. {self._hint}")  # fmt: skip
        if self._sent.refused:
            self._tell("refused", f"Tracking: MLflow left something out: {self._sent.refused}")
        if self._sender is not None and self._sender.poll() is None:
            return True
        if self._num_senders >= _MOST_SENDERS:
            return False
        self._sender = self._start_sender()
        return True

    def _tell(self, topic: str, line: str) -> None:
        if topic not in self._told:
            self._told.add(topic)
            self._say(line)

    def _all_sent(self) -> bool:
        self._look()
        return self._sent.position >= self._journal.size()

    def _look(self) -> None:
        """Read the sender's record if it has changed."""
        try:
            status = os.stat(self.folder / RECORD)
        except OSError:
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._sent_stamp:
            self._sent_stamp = stamp
            self._sent = load_sent(self.folder, self._target.key)


def _earlier_runs(folder: Path) -> dict[tuple[str, str | None], str]:
    """Return our ids of the runs that earlier sessions started, by name and parent."""
    starts = [e for e, _ in read_events(folder / JOURNAL) if e and e["kind"] == "start"]
    return {(e["name"], e["parent"]): e["run"] for e in starts if not e["shared"]}


def _flat(params: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and texts of nested settings."""
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            shown = value.value if isinstance(value, Enum) else value
            yield f"{prefix}{name}", str(shown)
