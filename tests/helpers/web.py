"""Clients of the small HTTP server, and a server of a few routes."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator

from r2p_edge.web.listen import parse_listen
from r2p_edge.web.request import Route
from r2p_edge.web.server import WebServer


def routes(**answers):
    """Return the `find` of a server whose paths have these answers, functions or bodies."""
    found = {}
    for name, answer in answers.items():
        if not isinstance(answer, Route):
            reply = answer if callable(answer) else lambda request, body=answer: request.reply(body)
            answer = Route(reply)
        found[f"/{name}" if name != "root" else "/"] = answer
    return found.get


@contextlib.contextmanager
def serving_routes(listen="127.0.0.1:0", **more) -> Iterator[WebServer]:
    """Serve while the `with` block runs; arguments that a server has not are routes."""
    options = {name: more.pop(name) for name in ("token", "tls", "limit", "clock") if name in more}
    with WebServer(parse_listen(listen), routes(**more), **options) as server:
        yield server


def ask(server, path="/", method="GET", *, tls=None, body=None, **headers):
    """Return status, headers and body of one request on a connection of its own."""
    where = ("127.0.0.1", server.port, 10)
    if tls is None:
        connection = http.client.HTTPConnection(*where[:2], timeout=where[2])
    else:
        connection = http.client.HTTPSConnection(*where[:2], timeout=where[2], context=tls)
    with contextlib.closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def say(server, text):
    """Return all that comes back for bytes on a socket of its own, to its end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(text)
        with contextlib.suppress(OSError):  # the server has ended it already
            client.shutdown(socket.SHUT_WR)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
        return b"".join(parts)
