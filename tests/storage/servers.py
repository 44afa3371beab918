"""Real servers for tests: a web server that fails as it is told, and a store that speaks S3."""

from __future__ import annotations

import http.server
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Fault = Callable[["_Handler", bytes], bool]
"""Answers in its own way and returns True, or returns False to let the server go on."""


class WebServer(http.server.ThreadingHTTPServer):
    """Serves a folder, with ranges; `faults` come first, each for one request of its file."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.faults: dict[str, list[Fault]] = {}
        self.asked: list[str] = []
        """Names of the files that were asked for, in order."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a client goes away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = urllib.parse.unquote(self.path).lstrip("/")
        self.server.asked.append(name.rsplit("/", 1)[-1])
        path = self.server.folder / name
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        faults = self.server.faults.get(path.name)
        if faults and faults.pop(0)(self, data):
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            data = data[int(wanted[1]) : int(wanted[2]) + 1 if wanted[2] else None]
        self.answer(data, status=206 if wanted else 200)

    do_HEAD = do_GET

    def answer(self, data: bytes, *, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def status(code: int) -> Fault:
    """Answer with an error."""

    def fault(handler: _Handler, _data: bytes) -> bool:
        handler.send_error(code)
        return True

    return fault


def cut(handler: _Handler, data: bytes) -> bool:
    """Promise the whole file and hang up half-way."""
    handler.answer(data[: len(data) // 2], length=len(data))
    handler.close_connection = True
    return True


def short(handler: _Handler, data: bytes) -> bool:
    """Send half a file as if it were all of it."""
    handler.answer(data[: len(data) // 2])
    return True


def flipped(handler: _Handler, data: bytes) -> bool:
    """Send the file with one byte changed."""
    handler.answer(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    return True


def silent(seconds: float) -> Fault:
    """Say nothing for a while, then hang up."""

    def fault(handler: _Handler, _data: bytes) -> bool:
        time.sleep(seconds)
        handler.close_connection = True
        return True

    return fault


@contextmanager
def web_server(folder: Path) -> Iterator[WebServer]:
    """Serve a folder until the block ends."""
    server = WebServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
