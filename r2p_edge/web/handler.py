"""The requests of one connection: what is read of it, checked, and sent."""

from __future__ import annotations

import http.client
import http.server
import logging
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from r2p_edge.web.connections import Connection
from r2p_edge.web.request import HTML, READING, TEXT, HttpError, Request, Route

if TYPE_CHECKING:
    from r2p_edge.web.server import WebServer

_IDLE_SECONDS = 60.0  # for the next request
_SECONDS = 10.0  # for the rest of it, and for a client to read
_REFUSED_SECONDS = 1.0
_DISCARDED = 1 << 24  # bytes of a body that nobody asked for, before the connection is closed
_LONGEST_QUERY = 32  # parameters
_UNKNOWN = -1  # bytes that are still to come
_WITHOUT_BODY = (204, 304)  # statuses

_SAFETY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the first address has the token in it
    "X-Content-Type-Options": "nosniff",
}

_NO_TOKEN = "this needs the token; open the address that the program printed when it started"
_PAGE_WITHOUT_TOKEN = f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>No token</title>
<p>{_NO_TOKEN[0].upper() + _NO_TOKEN[1:]}.</p>
<p>If you have just opened it through a link in a message, <a href="/">go on to the page</a>.</p>
</html>
"""
"""A browser that follows another site's link sends no cookie at first, and does at the next one."""

_log = logging.getLogger(__name__)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection; see `http.server.BaseHTTPRequestHandler`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, owner: WebServer, connection: Connection, address: Any) -> None:
        self._owner, self._open = owner, connection
        self._unread = 0  # bytes of the body of the request
        self._sent = False  # an answer to it
        self._patience = _REFUSED_SECONDS if connection.refused else _SECONDS
        super().__init__(connection.sock, address, owner)  # type: ignore[arg-type]

    def setup(self) -> None:
        """Shake hands, in this thread: a client that does not would hold up all others."""
        super().setup()
        self.connection.settimeout(self._patience)
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()

    def version_string(self) -> str:
        """Return the header Server."""
        return "r2p_edge"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: paths may have the token in them."""

    def handle_one_request(self) -> None:
        """Read a request and answer it."""
        self.close_connection = True
        self._unread, self._sent = 0, False
        self.headers = http.client.HTTPMessage()  # none yet, if the first line is malformed
        self._open.wait()
        self.connection.settimeout(self._patience if self._open.refused else _IDLE_SECONDS)
        if not self.rfile.peek(1):  # type: ignore[attr-defined] # of io.BufferedReader
            return
        self.connection.settimeout(self._patience)
        self.raw_requestline = self.rfile.readline(65537)
        self.command, self.request_version = "", "HTTP/1.0"
        if len(self.raw_requestline) > 65536:
            self.send_error(414)
        elif self.parse_request():
            self._open.work()
            self._answer()
        elif not self._sent:  # an empty line, for which the standard library has no words
            self.send_error(400)
        if self._unread:
            self._discard()

    def handle_expect_100(self) -> bool:
        """Ask for no body before the request is known to be allowed."""
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that cannot be understood; the connection ends."""
        if self.request_version == "HTTP/0.9":
            self.request_version = "HTTP/1.0"  # which has a status
        self._unread = _UNKNOWN
        # The standard library's 505 is for a version that is none. Its messages repeat the request,
        # which may have the token in it.
        status = 400 if code >= 500 else code
        self._error(HttpError(status, HTTPStatus(status).phrase.lower()))

    def _answer(self) -> None:
        try:
            if self._open.refused:
                raise HttpError(
                    503, "there are too many connections; try again soon", Retry_After="2"
                )
            if (asked := self._checked()) is not None:
                route, request = asked
                route.answer(request)
        except HttpError as error:
            self._error(error)
        except ConnectionError:  # the client has left
            raise
        except Exception:
            _log.exception("the answer to %s failed", self.path.partition("?")[0])
            self._error(HttpError(500, "the program has a fault, which its log describes"))

    def _checked(self) -> tuple[Route, Request] | None:
        """Return the request with its route; None if it is answered already, by a redirection.

        Raises:
            HttpError: it is malformed, or not allowed.
        """
        if self.request_version == "HTTP/0.9":
            self.request_version = "HTTP/1.0"
            raise HttpError(400, "a request has a version, such as HTTP/1.1")
        if self.headers.defects:
            self._unread = _UNKNOWN
            raise HttpError(400, "a header is malformed")
        self._measure_body()
        self._check_origin()
        try:
            parts = urllib.parse.urlsplit(self.path)
            pairs = urllib.parse.parse_qsl(
                parts.query, keep_blank_values=True, max_num_fields=_LONGEST_QUERY
            )
        except ValueError as error:
            raise HttpError(400, "the address is malformed") from error
        path, query = urllib.parse.unquote(parts.path), dict(pairs)
        route = self._owner.find(path)
        if not (route is not None and route.open) and self._redirected(parts.path, query):
            return None
        if route is None:
            raise HttpError(404, "there is nothing at this address")
        if self.command not in route.methods:
            allowed = ", ".join(route.methods)
            raise HttpError(405, f"this address has only {allowed}", Allow=allowed)
        stopping = self._owner.stopping
        return route, Request(self.command, path, query, self.headers, self, stopping)

    def _measure_body(self) -> None:
        lengths = self.headers.get_all("Content-Length", [])
        if self.headers.get("Transfer-Encoding") is not None:
            self._unread = _UNKNOWN
            if lengths:
                raise HttpError(400, "a body has a length or parts, not both")
        elif lengths:
            if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdecimal()):
                self._unread = _UNKNOWN
                raise HttpError(400, "the header Content-Length is no number")
            self._unread = int(lengths[0][:18])

    def _check_origin(self) -> None:
        """Raise HttpError if another web site made the browser send this."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1:
            raise HttpError(400, "a request has one header Host")
        if not self._owner.listen.allows(hosts[0]):
            raise HttpError(421, "this program does not answer for the host of this address")
        origin = self.headers.get("Origin")
        if self.command not in READING and origin is not None:
            # "null" is of a page without a site of its own.
            site = origin.lower().partition("://")[2]
            if site != hosts[0].lower():
                raise HttpError(403, "another web site may only look")

    def _redirected(self, path: str, query: dict[str, str]) -> bool:
        """Check the token; return True if it was in the address, and the browser has it now.

        Raises:
            HttpError: there is none, or another one.
        """
        access, reading = self._owner.access, self.command in READING
        given = query.pop("token", None)
        if not access.asked:
            return False
        if given is not None and reading and access.is_token(given):
            rest = f"?{urllib.parse.urlencode(query)}" if query else ""
            # Two slashes would begin the name of another host.
            where = f"/{urllib.parse.quote(path.lstrip('/'), safe='/%')}{rest}"
            headers = {"Location": where, "Set-Cookie": access.set_cookie()}
            self.respond(303, b"", TEXT, headers)
            return True
        if given is None and access.in_header(self.headers):
            return False
        if given is None and reading and access.in_cookie(self.headers):
            return False
        raise HttpError(401, _NO_TOKEN, WWW_Authenticate="Bearer")

    def _error(self, error: HttpError) -> None:
        if self._sent:  # in the middle of an answer, of which nothing can be taken back
            self.close_connection = True
            return
        kind, body = self._owner.describe(error.status, error.message)
        if error.status == 401 and "text/html" in self.headers.get("Accept", ""):
            kind, body = HTML, _PAGE_WITHOUT_TOKEN.encode()
        self.respond(error.status, body, kind, error.headers)

    def respond(
        self, status: int, body: bytes | None, kind: str, headers: Mapping[str, str]
    ) -> None:
        """Send an answer; see `Wire`."""
        self._sent = True
        if body is None or self._unread or self._owner.stopping.is_set() or self._open.refused:
            self.close_connection = True
        told = {"Server": self.version_string(), "Date": self.date_time_string(), **_SAFETY}
        told |= {**self._owner.headers, **headers}
        if status not in _WITHOUT_BODY:
            told["Content-Type"] = kind
            if body is not None:
                told["Content-Length"] = str(len(body))
        told["Connection"] = "close" if self.close_connection else "keep-alive"
        lines = [f"{self.protocol_version} {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in told.items()]
        head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii")
        bare = self.command == "HEAD" or status in _WITHOUT_BODY
        self.send(head + (b"" if bare else body or b""))

    def send(self, data: bytes) -> None:
        """Send bytes; see `Wire`."""
        self._open.wait()
        try:
            self.connection.sendall(data)
        except OSError as error:  # of any kind: a network has many ways to lose a client
            raise ConnectionAbortedError("the client has left, or does not read") from error
        self._open.work()

    def receive(self, limit: int) -> bytes:
        """Return the body of the request; see `Request.body`."""
        if self._unread == _UNKNOWN:
            raise HttpError(411, "give the length of the body, by a header Content-Length")
        if self._unread > limit:
            raise HttpError(413, f"the body has {self._unread} bytes; at most {limit} are allowed")
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._open.wait()
        try:
            body = self.rfile.read(self._unread)
        except OSError as error:
            raise ConnectionAbortedError("the body does not come") from error
        self._open.work()
        if len(body) < self._unread:
            raise ConnectionAbortedError("the client left in the middle of its request")
        self._unread = 0
        return body

    def gone(self) -> bool:
        """Return True if the client has left; see `Wire`."""
        return self._open.gone()

    def _discard(self) -> None:
        """Read on for a while: a client that is still sending would not see the answer."""
        socket.socket.shutdown(self.connection, socket.SHUT_WR)
        self._open.wait()
        self.connection.settimeout(_REFUSED_SECONDS)
        left = _DISCARDED
        while left > 0 and (part := self.rfile.read1(65536)):
            left -= len(part)
