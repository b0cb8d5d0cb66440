"""Telling systemd that a service is ready and alive, as sd_notify(3) describes it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """Sends READY and WATCHDOG to the service manager; says nothing where there is none."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        path = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is an abstract one, which begins with a zero byte.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = int(environment.get("WATCHDOG_USEC", 0)) / 1e6 if mine else 0.0
        # Half the time after which systemd would take the service for hung, as it recommends.
        self.interval = period / 2 if period > 0 else None
        self._ready = False
        self._told = -float("inf")

    def ready(self) -> None:
        """The service works; told once."""
        if not self._ready:
            self._ready = self._send("READY=1")

    def alive(self) -> None:
        """The service is not hung; told only as often as the watchdog wants it."""
        now = self._clock()
        due = self.interval is not None and now - self._told >= self.interval
        if due and self._send("WATCHDOG=1"):
            self._told = now

    def stopping(self) -> None:
        """The service ends by itself."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        """Whether it was sent; where not, it is worth another try."""
        if not self._address:
            return True
        # A service manager that does not listen, or is slow to, is no reason to stop.
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
            sender.sendto(message.encode(), self._address)
            return True
        return False
