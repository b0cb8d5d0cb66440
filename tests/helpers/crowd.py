"""Viewers of a live page that come and go, and some that never read."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator

PATHS = ("/next?after=0", "/stream.mjpg", "/events?after=0", "/frame.jpg", "/", "/metrics")


def request(path: str, token: str | None = None) -> bytes:
    """Return the bytes of a request, which keeps its connection."""
    proof = "" if token is None else f"Authorization: Bearer {token}\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{proof}\r\n".encode()


def come_and_go(port: int, count: int) -> None:
    """Connect so many times, ask for something, and leave: before, in or after the answer."""
    for number, path in zip(range(count), itertools.cycle(PATHS)):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as viewer:
            text = request(path)
            if number % 7 == 0:
                viewer.sendall(text[:10])  # in the middle of its request
                continue
            viewer.sendall(text)
            if number % 3:
                viewer.recv(100)


@contextlib.contextmanager
def deaf(port: int, count: int, path: str = "/stream.mjpg") -> Iterator[list[socket.socket]]:
    """Keep so many connections that ask and never read, while the `with` block runs."""
    made = []
    try:
        for _ in range(count):
            made.append(socket.create_connection(("127.0.0.1", port), timeout=60))
            with contextlib.suppress(ConnectionError):  # there are too many already
                made[-1].sendall(request(path))
        yield made
    finally:
        for each in made:
            each.close()
