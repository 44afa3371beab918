"""Files of a set by their names: in a folder, on a web server, in a bucket.

A folder needs nothing else; all other addresses go through fsspec, which is an extra.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from chirpid.errors import ConfigError, StorageError
from chirpid.storage.atomic import replacing
from chirpid.storage.shards import Bytes

T = TypeVar("T")
Check = Callable[[Bytes], str]
"""Returns what is wrong with the bytes of a file, or ""."""

READ_ONLY = ("http", "https")
_HELPERS = {"s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp"}
_SECRETS = re.compile(
    r"key|secret|token|password|passwd|user(name)?|auth(orization)?|headers|cookies|"
    r"aws_\w+|account_key|sas_token|connection_string"
)


class MissingFileError(StorageError):
    """There is no such file; asking again would not help."""


class Place(Protocol):
    """Where the files of a set are. It can be pickled."""

    read_only: bool

    def where(self, name: str = "") -> str:
        """Return the address of a file, or of all of them."""
        ...

    def read(self, name: str, check: Check | None = None, end: int | None = None) -> Bytes:
        """Return the bytes of a file, up to `end`; StorageError if they cannot be had."""
        ...

    def sizes(self) -> dict[str, int]:
        """Return the size of every file."""
        ...

    def write(self, name: str, data: Bytes) -> None:
        """Write a file, whole or not at all."""
        ...


def open_place(
    address: str,
    options: Mapping[str, Any] | None = None,
    *,
    attempts: int = 5,
    pause_s: float = 0.5,
    timeout_s: float = 60.0,
) -> Place:
    """Return the place of an address: a path, or a URL such as s3://bucket/set.

    Args:
        options: arguments of the file system of fsspec, such as `endpoint_url`; not credentials.
        attempts: how often a file is asked for before giving up.
        pause_s: before the second attempt; it doubles from one to the next.
        timeout_s: a server that is silent for so long has failed.
    Raises:
        ConfigError: fsspec or the library of the protocol is missing; credentials are in sight.
    """
    if not is_url(address):
        return LocalPlace(Path(address))
    if re.match(r"[^/]+//[^/]*@", address):
        raise ConfigError(
            "An address with a password in it would be written into run folders. Give credentials "
            "in the environment, as for AWS_PROFILE or AWS_ACCESS_KEY_ID."
        )
    refuse_secrets(options or {})
    return RemotePlace(
        address, dict(options or {}), attempts=attempts, pause_s=pause_s, timeout_s=timeout_s
    )


def is_url(address: str) -> bool:
    """Return whether an address is a URL rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", address) is not None


def refuse_secrets(options: Mapping[str, Any], above: str = "dataset.storage_options") -> None:
    """Raise ConfigError where options hold credentials: settings are shown and kept with runs."""
    for name, value in options.items():
        if _SECRETS.fullmatch(str(name).lower()):
            raise ConfigError(
                f"{above}.{name} would be written into run folders. Give credentials in the "
                "environment, as for AWS_PROFILE or AWS_ACCESS_KEY_ID."
            )
        if isinstance(value, Mapping):
            refuse_secrets(value, f"{above}.{name}")


class LocalPlace:
    """A folder."""

    read_only = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def where(self, name: str = "") -> str:
        return str(self.folder / name)

    def read(self, name: str, check: Check | None = None, end: int | None = None) -> Bytes:
        path = self.folder / name
        try:
            data = np.fromfile(path, dtype=np.uint8, count=-1 if end is None else end)
        except FileNotFoundError as error:
            raise MissingFileError(f"There is no {path}.") from error
        except OSError as error:
            raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
        if check and (fault := check(data)):
            raise StorageError(f"{path} is {fault}.")
        return data

    def sizes(self) -> dict[str, int]:
        try:
            return {e.name: e.stat().st_size for e in os.scandir(self.folder) if e.is_file()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"Cannot read {self.folder}: {error.strerror}.") from error

    def write(self, name: str, data: Bytes) -> None:
        with replacing(self.folder / name) as handle:
            handle.write(data.data)


class RemotePlace:
    """A URL that fsspec reads, and often writes. What fails for a moment is tried again."""

    def __init__(
        self, url: str, options: dict[str, Any], *, attempts: int, pause_s: float, timeout_s: float
    ) -> None:
        self.url, self.options = url.rstrip("/"), options
        self.attempts, self.pause_s, self.timeout_s = attempts, pause_s, timeout_s
        self.protocol = url.split("://")[0].lower()
        self.read_only = self.protocol in READ_ONLY
        self._opened: tuple[int, Any] = (-1, None)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        _ = self._files  # what is not installed is told now

    def where(self, name: str = "") -> str:
        return f"{self.url}/{name}" if name else self.url

    def read(self, name: str, check: Check | None = None, end: int | None = None) -> Bytes:
        files = self._files
        # Of a silent server the socket tells; this is for one that sends a byte now and then.
        longest = {"timeout": 10 * self.timeout_s} if files.async_impl else {}
        part = {} if end is None else {"start": 0, "end": end}

        def ask() -> Bytes:
            data = np.frombuffer(files.cat_file(self.where(name), **part, **longest), np.uint8)
            if check and (fault := check(data)):
                raise _BadBytesError(fault)
            return data

        return self._often(ask, self.where(name))

    def sizes(self) -> dict[str, int]:
        def ask() -> dict[str, int]:
            try:
                found = self._files.ls(self.url, detail=True, refresh=True)
            except FileNotFoundError:
                return {}
            return {e["name"].rsplit("/", 1)[-1]: e["size"] for e in found if e["type"] == "file"}

        return self._often(ask, self.where())

    def write(self, name: str, data: Bytes) -> None:
        if self.read_only:
            raise ConfigError(
                f"{self.url} can be read and not written. Write to a folder or to s3://, and "
                "serve that."
            )
        self._often(
            lambda: self._files.pipe_file(self.where(name), data.tobytes()), self.where(name)
        )

    def _often(self, ask: Callable[[], T], where: str) -> T:
        pause_s, last = self.pause_s, ""
        for attempt in range(self.attempts):
            if attempt:
                self._closed.wait(pause_s)
                pause_s *= 2
            try:
                return ask()
            except FileNotFoundError as error:
                raise MissingFileError(f"There is no {where}.") from error
            except _BadBytesError as error:
                last = f"it is {error}"
            except _faults() as error:
                last = _reason(error)
                if _is_final(error):
                    raise StorageError(
                        f"Cannot reach {where}: {last}. Credentials come from the environment, as "
                        "AWS_PROFILE or AWS_ACCESS_KEY_ID; other options from "
                        "dataset.storage_options."
                    ) from error
        raise StorageError(f"Cannot read {where}: {last}, after {self.attempts} attempts.")

    @property
    def _files(self) -> Any:
        """The file system of fsspec: one for each process, since none of them survives a fork."""
        with self._lock:
            if self._opened[0] != os.getpid():
                self._opened = (os.getpid(), self._open())
            return self._opened[1]

    def _open(self) -> Any:
        helper = _HELPERS.get(self.protocol)
        try:
            fsspec = importlib.import_module("fsspec")
            if helper:
                importlib.import_module(helper)
        except ImportError as error:
            needs = " and ".join(dict.fromkeys(["fsspec", helper or "fsspec"]))
            raise ConfigError(
                f"{self.url} needs {needs}. Install them: pip install 'chirpid[remote]'."
            ) from error
        try:
            return fsspec.filesystem(self.protocol, **self._options())
        except (ImportError, ValueError, TypeError) as error:
            raise ConfigError(f"{self.url} cannot be opened by fsspec: {error}.") from error

    def _options(self) -> dict[str, Any]:
        wait: dict[str, Any] = {}
        if self.protocol in READ_ONLY:
            aiohttp = importlib.import_module("aiohttp")
            limits = aiohttp.ClientTimeout(
                total=None, sock_connect=self.timeout_s, sock_read=self.timeout_s
            )
            wait = {"client_kwargs": {"timeout": limits}}
        elif _HELPERS.get(self.protocol) == "s3fs":
            limits = {"connect_timeout": self.timeout_s, "read_timeout": self.timeout_s}
            wait = {"config_kwargs": limits}
        merged = {**wait, **self.options}
        for name in wait.keys() & self.options.keys():
            merged[name] = {**wait[name], **self.options[name]}
        return merged

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_opened", "_lock", "_closed")
        return {k: v for k, v in self.__dict__.items() if k not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opened, self._lock, self._closed = (-1, None), threading.Lock(), threading.Event()


class _BadBytesError(Exception):
    """A file came, and it is not what it should be: perhaps cut on the way."""


def _faults() -> tuple[type[Exception], ...]:
    """Return what the libraries raise when a server or the way to it fails."""
    found: list[type[Exception]] = [OSError, TimeoutError]
    for module, names in (("aiohttp", ("ClientError",)),
                          ("botocore.exceptions", ("BotoCoreError", "ClientError"))):  # fmt: skip
        try:
            loaded = importlib.import_module(module)
        except ImportError:
            continue
        found += [getattr(loaded, name) for name in names]
    return tuple(found)


def _is_final(error: Exception) -> bool:
    """Return whether asking again would get the same answer."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status not in (408, 425, 429)
    return isinstance(error, PermissionError) or "Credential" in type(error).__name__


def _reason(error: Exception) -> str:
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        return f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
    text = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return "no answer in time" if isinstance(error, TimeoutError) else text
