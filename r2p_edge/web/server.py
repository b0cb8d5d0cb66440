"""A small HTTP server of a few routes, which is safe to leave running among strangers.

It is the standard library's, with what that lacks: a limit on connections, a token, the check of
the header Host, and TLS whose handshake holds up nobody.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from r2p_edge.errors import UsageError
from r2p_edge.web.access import Access, check_exposure
from r2p_edge.web.connections import Connection, Connections
from r2p_edge.web.handler import Handler
from r2p_edge.web.listen import ListenAddress
from r2p_edge.web.request import TEXT, Route

_BACKLOG = 128
_SEND_BUFFER = 1 << 18  # bytes: a slow viewer is a few pictures behind, and not a few hundred
_PAUSE_SECONDS = 0.1  # before the next try, where the process has no descriptor left
_STOP_SECONDS = 2.0

_log = logging.getLogger(__name__)


def plain_error(status: int, message: str) -> tuple[str, bytes]:
    """Return the Content-Type and the body of an error: its message as a line of text."""
    return TEXT, f"{message}\n".encode()


class WebServer:
    """A server, which listens from the beginning and answers within `with`.

    Args:
        listen: address to listen on.
        find: returns the route of a path; None if there is none.
        token: token that every route but the open ones needs; None for none.
        tls: TLS of `tls_context`; None for plain HTTP.
        limit: greatest number of connections at a time.
        headers: further headers of every answer.
        describe: returns Content-Type and body of an error, see `plain_error`.
        clock: returns seconds of a monotonic clock.

    Attributes:
        listen: as given.
        port: port that it listens on.
        access: check of the token.
        stopping: is set when the server stops.

    Raises:
        UsageError: the address is in use, or not one of this machine, or others could connect to
            it without a token.
    """

    def __init__(
        self,
        listen: ListenAddress,
        find: Callable[[str], Route | None],
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        limit: int = 32,
        headers: Mapping[str, str] = MappingProxyType({}),
        describe: Callable[[int, str], tuple[str, bytes]] = plain_error,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_exposure(listen, token)
        self.listen, self.find, self.headers, self.describe = listen, find, headers, describe
        self._tls = tls
        self.stopping = threading.Event()
        self._connections = Connections(limit, clock)
        self._threads: set[threading.Thread] = set()
        self._socket = _listening(listen)
        self.port: int = self._socket.getsockname()[1]
        self.access = Access(token, self.port, secure=tls is not None)
        self._accepting = threading.Thread(target=self._accept, name="r2p_edge web", daemon=True)

    @property
    def url(self) -> str:
        """Address of the first page, without the token."""
        return self.listen.url("http" if self._tls is None else "https", self.port)

    @property
    def open_connections(self) -> int:
        """Number of connections that are open."""
        return len(self._connections)

    def __enter__(self) -> WebServer:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all connections and free the port; more than once if you like."""
        self.stopping.set()
        deadline = time.monotonic() + _STOP_SECONDS
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        except OSError:
            return  # it is closed already
        if self._accepting.ident is not None:
            self._accepting.join(_STOP_SECONDS)
        self._socket.close()
        self._connections.cut_all()
        for thread in list(self._threads):
            thread.join(max(deadline - time.monotonic(), 0))

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, address = self._socket.accept()
            except OSError as error:
                if not self.stopping.is_set():
                    _log.warning("a connection could not be accepted: %s", error)
                    self.stopping.wait(_PAUSE_SECONDS)
                continue
            try:
                self._begin(sock, address)
            except (OSError, RuntimeError) as error:  # it has gone again, or no thread is left
                _log.debug("a connection could not be begun: %s", error)
                sock.close()

    def _begin(self, sock: socket.socket, address: object) -> None:
        """Let a thread of its own read the requests of a new connection."""
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        connection = self._connections.admit(sock)
        if connection is None:
            sock.close()
            return
        thread = threading.Thread(
            target=self._answer, args=(connection, address), name="r2p_edge web", daemon=True
        )
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.discard(thread)
            self._connections.forget(connection)
            raise

    def _answer(self, connection: Connection, address: object) -> None:
        try:
            Handler(self, connection, address)
        except OSError as error:  # it has left, does not read, or speaks no TLS
            _log.debug("a connection ended: %s", error)
        finally:
            self._connections.forget(connection)
            connection.sock.close()
            self._threads.discard(threading.current_thread())


def _listening(listen: ListenAddress) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UsageError: see `WebServer`.
    """
    sock = socket.socket(listen.family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        sock.bind((listen.address, listen.port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        where = f"{host}:{listen.port}"
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"another program listens on {where} already; end it or choose another port"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UsageError(
                f"this program may not listen on {where} ({error.strerror}); choose a port above "
                "1023"
            ) from error
        raise UsageError(
            f"{where} is not an address of this machine ({error.strerror}); listen on one that it "
            "has, such as 127.0.0.1"
        ) from error
    return sock
