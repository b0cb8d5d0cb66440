"""The open connections of a server: how many there may be, and which one gives way."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Literal

IDLE_SECONDS = 1.0
"""Seconds after which a connection that only waits for its client gives way to a new one."""


class Connection:
    """An open connection.

    Attributes:
        sock: its socket.
        refused: True if there were too many connections already.
        waiting: True while it waits for its client, to ask or to read.
        since: seconds of the clock since when that is so.
    """

    def __init__(self, sock: socket.socket, clock: Callable[[], float], *, refused: bool) -> None:
        self.sock, self.refused, self._clock = sock, refused, clock
        self.waiting, self.since = True, clock()

    def wait(self) -> None:
        """Note that the client has to do something now."""
        self.waiting, self.since = True, self._clock()

    def work(self) -> None:
        """Note that the client has done so."""
        self.waiting, self.since = False, self._clock()

    def gone(self) -> bool:
        """Return True if the client has closed the connection."""
        # Not the methods of an SSLSocket, which have no such look at what has come.
        flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
        try:
            return not socket.socket.recv(self.sock, 1, flags)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def cut(self) -> None:
        """End the connection, so that the thread that reads or writes it finds it closed."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class Connections:
    """The open connections. Where there are too many, one that does nothing gives way.

    Args:
        limit: greatest number; half as many more are told that there are too many.
        clock: returns seconds of a monotonic clock.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._open: dict[Connection, Literal["served", "refused", "cut"]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, sock: socket.socket) -> Connection | None:
        """Return the connection of a new socket, `refused` if there are too many; None if it is
        to be closed at once."""
        with self._lock:
            kinds = list(self._open.values())
            full = kinds.count("served") >= self._limit
            if full and (idle := self._most_idle()) is not None:
                self._open[idle] = "cut"
                idle.cut()
                full = False
            if full and kinds.count("refused") >= max(self._limit // 2, 1):
                return None
            connection = Connection(sock, self._clock, refused=full)
            self._open[connection] = "refused" if full else "served"
            return connection

    def _most_idle(self) -> Connection | None:
        """Return the connection that has waited longest for its client; None if none waits."""
        late = self._clock() - IDLE_SECONDS
        waiting = [
            each
            for each, kind in self._open.items()
            if kind == "served" and each.waiting and each.since <= late
        ]
        return min(waiting, key=lambda each: each.since, default=None)

    def forget(self, connection: Connection) -> None:
        """Take out a connection that has ended."""
        with self._lock:
            self._open.pop(connection, None)

    def cut_all(self) -> None:
        """End all connections."""
        with self._lock:
            for connection in self._open:
                connection.cut()
