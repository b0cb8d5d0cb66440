"""HTTP server of a folder on this machine that counts how often it is connected to."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path


class FileServer(http.server.ThreadingHTTPServer):
    """Server of whole files: it answers no request for a part of one."""

    daemon_threads = True
    connections = 0

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        """Ignore that a reader closed its connection before the end of the file."""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class _Untold(_Handler):
    def send_header(self, keyword, value):
        if keyword != "Content-Length":
            super().send_header(keyword, value)


@contextlib.contextmanager
def serving(folder: Path, *, lengths: bool = True) -> Iterator[FileServer]:
    """Serve a folder while the `with` block runs, with the lengths of the files or without."""
    handler = partial(_Handler if lengths else _Untold, directory=str(folder))
    with FileServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
