"""The folder of a run: made new, or found again to go on."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from chirpid.errors import ConfigError, StorageError
from chirpid.storage.atomic import remove_leftovers, storage_error, write_text
from chirpid.storage.locks import FileLock

STATE = "state.json"


@dataclass(slots=True)
class RunState:
    """What a run says of itself while it lives and after."""

    status: str
    """running, interrupted, failed or finished"""
    config_hash: str
    split_hash: str = ""
    data_hash: str = ""
    wall_s: float = 0.0
    """Seconds of work so far, over all attempts."""
    version: int = 1


class RunFolder:
    """A run folder that this process holds: nobody else resumes it meanwhile."""

    def __init__(self, path: Path, state: RunState, *, resumed: bool) -> None:
        self.path, self.resumed = path, resumed
        self._lock = FileLock(path / "run.lock")
        self._begin = time.monotonic()
        if not self._lock.acquire(wait=False):
            self._lock.close()
            raise StorageError(f"{path} is in use by another process.")
        # Read again: until the folder was ours, another process may have gone on with it.
        self.state = (read_state(path) if resumed else None) or state
        self._wall_before_s = self.state.wall_s
        if resumed:
            # Of an attempt that was killed. Not in the folder itself: its tracker may still send.
            for below in ("plots", "folds/*"):
                for folder in path.glob(below):
                    remove_leftovers(folder)

    @property
    def wall_s(self) -> float:
        """Seconds of work so far, over all attempts."""
        return self._wall_before_s + time.monotonic() - self._begin

    def set_status(self, status: str) -> None:
        """Write down how the run stands."""
        self.state.status, self.state.wall_s = status, self.wall_s
        write_text(self.path / STATE, json.dumps(asdict(self.state)) + "\n")

    def check_data(self, split_hash: str, data_hash: str) -> None:
        """Note the split and what is trained on, or refuse to go on with others.

        Raises:
            ConfigError: recordings or labels have changed since the run began.
        """
        before = (self.state.split_hash, self.state.data_hash)
        if self.resumed and before not in (("", ""), (split_hash, data_hash)):
            raise ConfigError(
                f"{self.path} was begun with other recordings or labels: they have changed since. "
                "Put them back, or start anew without resume."
            )
        self.state.split_hash, self.state.data_hash = split_hash, data_hash

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.close()


def open_run_folder(outputs: Path, *, name: str, config_hash: str, resume: str | None) -> RunFolder:
    """Return the folder of a new run, or of the one to go on with.

    Args:
        resume: None; "auto" for the latest unfinished run with this `config_hash`, else a new one;
            or the path of a run folder.
    Raises:
        ConfigError: the named folder is no run, is finished, or had other settings.
        StorageError: the folder cannot be written.
    """
    if resume == "auto":
        found = _latest_unfinished(outputs, config_hash)
        if found:
            return found
    elif resume:
        return _named(Path(resume).expanduser().absolute(), config_hash)
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{_plain(name)}"
    for attempt in range(1000):
        path = outputs / "runs" / (f"{stem}-{attempt}" if attempt else stem)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not (outputs / "runs").is_dir():
                raise StorageError(f"{outputs} is not a folder. Set paths.outputs.") from None
            continue
        except OSError as error:
            raise storage_error(error, path) from error
        return RunFolder(path, RunState("running", config_hash), resumed=False)
    raise StorageError(f"There are too many runs named {stem}.")


def read_state(path: Path) -> RunState | None:
    """Return the state of a run folder, or None if it holds none."""
    try:
        return RunState(**json.loads((path / STATE).read_text()))
    except (OSError, json.JSONDecodeError, TypeError):
        return None


def _latest_unfinished(outputs: Path, config_hash: str) -> RunFolder | None:
    for path in sorted((outputs / "runs").glob("*"), reverse=True):
        state = read_state(path)
        if state is None or state.config_hash != config_hash or state.status == "finished":
            continue
        try:
            folder = RunFolder(path, state, resumed=True)
        except StorageError:  # it is running right now
            continue
        if folder.state.status != "finished":
            return folder
        folder.close()
    return None


def _named(path: Path, config_hash: str) -> RunFolder:
    state = read_state(path)
    if state is None:
        raise ConfigError(f"resume={path} is not a run folder. Use resume=auto or an existing one.")
    if state.status == "finished":
        raise ConfigError(f"resume={path}: this run is finished. Its results.json has the figures.")
    if state.config_hash != config_hash:
        raise ConfigError(
            f"resume={path} was begun with other settings (see its config.yaml). "
            "Give the same ones, or start anew without resume."
        )
    return RunFolder(path, state, resumed=True)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:60] or "run"
