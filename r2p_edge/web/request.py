"""A request as routes see it, and the ways to answer it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Protocol

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"

READING: tuple[str, ...] = ("GET", "HEAD")
"""Methods that change nothing, for which the browser's cookie is enough."""


class HttpError(Exception):
    """An answer other than the one that was asked for.

    Args:
        status: status of the answer, from 400 on.
        message: sentence for the client.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Wire(Protocol):
    """The connection below a request."""

    def respond(
        self, status: int, body: bytes | None, kind: str, headers: Mapping[str, str]
    ) -> None:
        """Send an answer; without a body only its head, and the connection ends with it."""

    def send(self, data: bytes) -> None:
        """Send bytes of a body."""

    def receive(self, limit: int) -> bytes:
        """Return the body of the request."""

    def gone(self) -> bool:
        """Return True if the client has left."""


@dataclass(frozen=True)
class Request:
    """A request that may be answered.

    Attributes:
        method: "GET", "HEAD", "POST" and so on.
        path: path without the query, percent signs resolved.
        query: parameters of the query, the last one of each name.
        headers: headers, whose names may be looked up in any case.
        wire: the connection.
        stopping: is set when the server stops; what waits ends then.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    wire: Wire
    stopping: threading.Event

    def body(self, limit: int) -> bytes:
        """Return the body of the request.

        Args:
            limit: greatest number of bytes.

        Raises:
            HttpError: it is longer (413), or its length is not given (411).
            ConnectionError: it does not come.
        """
        return self.wire.receive(limit)

    def reply(
        self,
        body: bytes | str,
        kind: str = TEXT,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send an answer.

        Args:
            body: its body; a text is sent in UTF-8.
            kind: its Content-Type.
            status: its status.
            headers: further headers, of ASCII without line ends.
        """
        data = body.encode() if isinstance(body, str) else body
        self.wire.respond(status, data, kind, headers or {})

    def reply_json(self, data: Any, *, status: int = 200) -> None:
        """Send plain JSON types."""
        self.reply(json.dumps(data), JSON, status=status)

    def begin_stream(self, kind: str, headers: Mapping[str, str] | None = None) -> bool:
        """Send the head of an answer that has no end; return False if no more is wanted.

        Then `send` its parts until that raises ConnectionError, or `gone` returns True.
        """
        self.wire.respond(200, None, kind, headers or {})
        return self.method != "HEAD"

    def send(self, data: bytes) -> None:
        """Send a part of a stream; wait for a client that reads slowly, up to a limit.

        Raises:
            ConnectionError: the client has left, or does not read.
        """
        self.wire.send(data)

    def gone(self) -> bool:
        """Return True if the client has left, or the server stops; for those who wait."""
        return self.stopping.is_set() or self.wire.gone()


@dataclass(frozen=True)
class Route:
    """The answer to a path.

    Attributes:
        answer: sends the answer to a request; raises `HttpError` for another one.
        methods: methods that the path has.
        open: True if it is answered without a token.
    """

    answer: Callable[[Request], None]
    methods: tuple[str, ...] = READING
    open: bool = False
