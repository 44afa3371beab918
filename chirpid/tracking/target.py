"""Where runs are sent: the local store of an outputs folder, or a server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from chirpid.errors import ConfigError

STORE = "mlflow.db"
ARTIFACTS = "mlartifacts"


@dataclass(frozen=True, slots=True)
class Target:
    """A place for runs. Holds no password: those come from MLflow's environment variables."""

    outputs: Path
    """Folder of the local store and of the lock that local processes share."""
    uri: str | None = None
    """None is the local store."""
    experiment: str = "chirpid"
    timeout_s: float = 10.0

    @property
    def address(self) -> str:
        """MLflow's tracking URI."""
        return self.uri or f"sqlite:///{self.outputs.resolve() / STORE}"

    @property
    def key(self) -> str:
        """What tells two targets apart in the record of what was sent where."""
        return f"{self.uri or 'local'} {self.experiment}"

    @property
    def shown(self) -> str:
        """The target as a user knows it."""
        return self.uri or str(self.outputs / STORE)

    @property
    def sqlite_file(self) -> Path | None:
        """The SQLite file, None for servers."""
        prefix = "sqlite:///"
        return Path(self.address.removeprefix(prefix)) if self.address.startswith(prefix) else None

    @property
    def lock_file(self) -> Path:
        return self.outputs / ".mlflow.lock"


def parse_target(
    uri: str | None, *, outputs: Path, experiment: str, timeout_s: float
) -> tuple[Target, dict[str, str]]:
    """Return the target and the environment variables that carry a user name and password.

    Raises:
        ConfigError: `uri` is no address.
    """
    if "?" in str(outputs.resolve()) and uri is None:
        raise ConfigError(f"paths.outputs={outputs} holds a '?', which SQLite takes for an option.")
    if uri is None:
        return Target(outputs, None, experiment, timeout_s), {}
    if not re.match(r"^(databricks|file:|[a-z][a-z0-9+.-]*://)", uri):
        raise ConfigError(
            f"tracking.uri={uri} is not an address. Use http://HOST:PORT of an MLflow server,"
            " sqlite:///FILE, or leave it out for a store in paths.outputs."
        )
    if uri.startswith("sqlite:///"):
        # A relative file is the user's; it must mean the same when sent from another folder.
        uri = f"sqlite:///{os.path.abspath(uri.removeprefix('sqlite:///'))}"
    parts = urlsplit(uri)
    secrets: dict[str, str] = {}
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        secrets = {"MLFLOW_TRACKING_USERNAME": parts.username or "",
                   "MLFLOW_TRACKING_PASSWORD": parts.password or ""}  # fmt: skip
        uri = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return Target(outputs, uri, experiment, timeout_s), secrets
