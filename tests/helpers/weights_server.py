"""A server of one file of weights on this machine, which cuts, lies and redirects as it is told."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import logging
import random
import re
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from r2p_edge.export.published.store import WeightsStore

PATH = "/weights.pth"
"""Where the file is."""


def weights_bytes(size: int, seed: int = 0) -> bytes:
    """Return bytes that begin as a file of weights does."""
    return b"PK\x03\x04" + random.Random(seed).randbytes(size - 4)


def digest_of(content: bytes) -> str:
    """Return the sha256 of bytes, by which tests compare what is too long to be shown."""
    return hashlib.sha256(content).hexdigest()


class WeightsServer(http.server.ThreadingHTTPServer):
    """The server.

    Attributes:
        content: bytes of the file.
        etag: its ETag; None to send none.
        ranges: False if it answers requests for a part with the whole.
        cuts: for each of the next requests, the byte of the file before which it breaks off.
        reset: True if it breaks off by a reset, False if as at the end of an answer.
        answers: functions that answer the requests for other paths, or for this one, themselves.
        requests: path and Range of each request.
        sent: bytes of the file that it sent, each time anew.
        scheme: "http" or "https".
    """

    daemon_threads = True
    scheme = "http"

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.etag, self.ranges, self.reset = content, '"first"', True, False
        self.cuts: list[int] = []
        self.answers: dict[str, Callable[[Any], None]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.sent = 0

    def url(self, path: str = PATH) -> str:
        """Return an address of this server."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that go, or do not shake hands."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WeightsServer

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        if self.path in self.server.answers:
            self.server.answers[self.path](self)
        elif self.path == PATH:
            self._answer(asked)
        else:
            reply(self, 404)

    def _answer(self, asked: str | None) -> None:
        server, content = self.server, self.server.content
        start = 0
        if asked and server.ranges and self.headers.get("If-Range") == server.etag is not None:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start >= len(content):
            reply(self, 416)
            return
        headers = {"ETag": server.etag} if server.etag else {}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = server.cuts.pop(0) if server.cuts else len(content)
        body = content[start : max(cut, start)]
        server.sent += len(body)
        length = len(content) - start
        reply(self, 206 if start else 200, body, length=length, **headers)
        if len(body) < length:
            break_off(self, reset=server.reset)


def reply(
    handler: Any, status: int, body: bytes = b"", *, length: int | None = None, **headers: str
) -> None:
    """Send an answer; its headers have hyphens where the names here have underscores.

    Args:
        handler: of the request.
        status: its status.
        body: its body.
        length: Content-Length, if it is to lie; -1 for none.
    """
    handler.send_response(status)
    if length != -1:
        handler.send_header("Content-Length", str(len(body) if length is None else length))
    else:
        handler.close_connection = True
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def break_off(handler: Any, *, reset: bool = False) -> None:
    """End the connection of a request in the middle of its answer."""
    handler.close_connection = True
    handler.wfile.flush()
    if reset:
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@contextlib.contextmanager
def serving_weights(content: bytes, certificate: Path | None = None) -> Iterator[WeightsServer]:
    """Serve a file while the `with` block runs, over https with a certificate of `self_signed`."""
    with WeightsServer(content) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def self_signed(folder: Path) -> Path:
    """Return a new certificate of this machine, with its key in the same file; by openssl."""
    file = folder / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    parts = ((folder / name).read_bytes() for name in ("key.pem", "certificate.pem"))
    file.write_bytes(b"".join(parts))
    return file


def fetch_and_tell(store: WeightsStore, tell: Connection) -> None:
    """Fetch the weights, as a process of its own; tell how many bytes there are, and its log."""
    from r2p_edge.export.published.fetch import get_weights

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell.send(record.getMessage())

    logger = logging.getLogger("r2p_edge")
    logger.addHandler(Teller())
    logger.setLevel(logging.INFO)
    get_weights("net", store=store, progress=lambda done, total: tell.send(done))


def registry_of(file: Path, *entries: dict[str, Any]) -> Path:
    """Write a registry of entries that say only what differs; return its path."""
    usual = {
        "id": "net",
        "title": "a network",
        "status": "direct",
        "url": "https://127.0.0.1/weights.pth",
        "file": "weights.pth",
        "page": "https://127.0.0.1/page",
        "size": None,
        "megabytes": None,
        "digest": None,
        "licence": "MIT",
        "licence_url": "https://127.0.0.1/licence",
        "trained_on": "Kinetics-400",
        "classes": 400,
        "family": None,
        "preset": None,
        "frames": None,
        "labels": None,
        "notes": "",
    }
    rows = [{**usual, **entry} for entry in entries]
    file.write_text(json.dumps({"format": 1, "weights": rows}), encoding="utf-8")
    return file
