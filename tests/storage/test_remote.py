"""Files come over a real network as they are, or the error says which one did not, and why."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chirpid.errors import ConfigError, StorageError
from chirpid.storage.remote import MissingFileError, Place, is_url, open_place
from tests.storage.servers import (
    WebServer,
    cut,
    flipped,
    short,
    silent,
    status,
    web_server,
)

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

DATA = bytes(range(256)) * 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a file.bin").write_bytes(DATA)
    with web_server(tmp_path) as running:
        yield running


def place_of(server: WebServer, **more: object) -> Place:
    return open_place(f"{server.url}/set", pause_s=0.001, timeout_s=0.5, **more)


def whole(data: np.ndarray) -> str:
    return "" if data.tobytes() == DATA else "damaged"


def test_a_file_and_its_beginning_come_as_they_are(server: WebServer) -> None:
    place = place_of(server)
    assert place.read("a file.bin").tobytes() == DATA
    assert place.read("a file.bin", end=64).tobytes() == DATA[:64]
    assert pickle.loads(pickle.dumps(place)).read("a file.bin").tobytes() == DATA
    assert place.where("x") == f"{server.url}/set/x"


@pytest.mark.parametrize("fault", [status(500), status(503), cut, short, flipped, silent(1.0)])
def test_what_fails_for_a_moment_is_asked_for_again(server: WebServer, fault) -> None:
    server.faults["a file.bin"] = [fault, fault]
    assert place_of(server).read("a file.bin", whole).tobytes() == DATA
    assert len(server.asked) == 3


def test_what_keeps_failing_is_named_with_its_address_and_reason(server: WebServer) -> None:
    server.faults["a file.bin"] = [status(500)] * 10
    with pytest.raises(StorageError, match=r"Cannot read http.*/set/a file.bin: the server answers "
                       r"500.*, after 3 attempts\."):  # fmt: skip
        place_of(server, attempts=3).read("a file.bin")
    server.faults["a file.bin"] = [flipped] * 10
    with pytest.raises(StorageError, match=r"it is damaged, after 2 attempts"):
        place_of(server, attempts=2).read("a file.bin", whole)


@pytest.mark.parametrize(
    ("code", "kind"), [(404, MissingFileError), (403, StorageError), (410, StorageError)]
)
def test_a_refusal_is_not_asked_again(server: WebServer, code, kind) -> None:
    server.faults["a file.bin"] = [status(code)]
    with pytest.raises(kind, match=r"a file\.bin"):
        place_of(server).read("a file.bin")
    assert len(server.asked) == 1


def test_a_server_that_is_away_is_told(server: WebServer) -> None:
    address = server.url.replace("127.0.0.1", "127.0.0.2")  # nobody listens there
    with pytest.raises(StorageError, match=r"Cannot read .*127\.0\.0\.2.*after 2 attempts"):
        open_place(address, attempts=2, pause_s=0.001).read("x")


def test_a_web_server_is_not_written_to(server: WebServer) -> None:
    with pytest.raises(ConfigError, match="can be read and not written"):
        place_of(server).write("x", np.zeros(1, np.uint8))


def test_a_folder_is_a_place_too(tmp_path: Path) -> None:
    place = open_place(str(tmp_path / "new"))
    assert place.sizes() == {}
    place.write("x", np.frombuffer(DATA, np.uint8))
    assert place.sizes() == {"x": len(DATA)}
    assert place.read("x", whole, end=None).tobytes() == DATA
    assert place.read("x", end=3).tobytes() == DATA[:3]
    with pytest.raises(MissingFileError, match=r"There is no .*y"):
        place.read("y")
    with pytest.raises(StorageError, match=r"x is damaged"):
        place.read("x", lambda _: "damaged")


def test_what_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not there
    with pytest.raises(ConfigError, match=r"needs fsspec and s3fs.*install 'chirpid\[remote\]'"):
        open_place("s3://bucket/set")


@pytest.mark.parametrize("options", [
    {"secret": "x"}, {"key": "x"}, {"client_kwargs": {"aws_secret_access_key": "x"}},
    {"token": "x"}, {"headers": {"Authorization": "x"}},
])  # fmt: skip
def test_credentials_are_refused_where_runs_would_keep_them(options) -> None:
    with pytest.raises(ConfigError, match="written into run folders"):
        open_place("http://host/set", options)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as told:
        open_place("https://me:pass@host/set")
    assert "pass@" not in str(told.value)


def test_paths_are_not_taken_for_addresses() -> None:
    assert is_url("s3://a/b")
    assert not any(map(is_url, ["a/b", "/a", "C:\\a", "./a:b", "a:b"]))
