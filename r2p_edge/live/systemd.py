"""Messages to systemd that a service is ready and alive, as sd_notify(3) describes them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """A sender of READY, WATCHDOG and STOPPING to the service manager, if there is one.

    Args:
        environment: the variables NOTIFY_SOCKET, WATCHDOG_PID and WATCHDOG_USEC of systemd.
        clock: returns seconds of a monotonic clock.

    Attributes:
        interval: seconds between two WATCHDOG messages; None if nobody watches this process.
    """

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
        self._sent = -float("inf")

    def ready(self) -> None:
        """Say, once, that the service works."""
        if not self._ready:
            self._ready = self._send("READY=1")

    def alive(self) -> None:
        """Say that the service is not hung, as often as the watchdog needs it."""
        now = self._clock()
        due = self.interval is not None and now - self._sent >= self.interval
        if due and self._send("WATCHDOG=1"):
            self._sent = now

    def stopping(self) -> None:
        """Say that the service ends by itself."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        """Send a message; return False if it must be tried again."""
        if not self._address:
            return True
        # A service manager that does not listen, or is busy, must not stop the stream.
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
            sender.sendto(message.encode(), self._address)
            return True
        return False
