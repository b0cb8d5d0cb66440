"""A source that goes on by itself, and what happens when it is lost."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from r2p_edge.errors import VideoError
from r2p_edge.live.buffer import Shot

BACK_OFF = (0.5, 10.0)
"""Seconds from one attempt to reconnect to the next: at first, and at most."""


class LiveCapture(ABC):
    """A source that goes on by itself, and is opened again, ever more slowly, when it is lost.

    Args:
        reconnect: seconds without a frame after which it is lost for good.
    """

    live = True
    truncated = False
    timeout: float
    advice = "check that it is on"

    def __init__(self, name: str, *, reconnect: float, clock: Callable[[], float]) -> None:
        self.name = name
        self._reconnect, self._clock = reconnect, clock
        self._stopped = threading.Event()
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Opens the source, or raises VideoError."""

    @abstractmethod
    def _play(self) -> Iterator[Shot]:
        """Frames until the source is lost: it then ends, or raises VideoError."""

    @abstractmethod
    def close(self) -> None:
        """See `Capture`."""

    def shots(self) -> Iterator[Shot]:
        """See `Capture`."""
        opened, played = True, False
        seen, delay = self._clock(), BACK_OFF[0]
        while not self._stopped.is_set():
            cause: VideoError | None = None
            joined = False
            try:
                if not opened:
                    self._open()
                for shot in self._play():
                    yield shot._replace(joined=joined and shot.joined)
                    seen, delay = self._clock(), BACK_OFF[0]
                    played = joined = True
            except VideoError as error:
                cause = error
            self.close()
            opened = False
            if self._stopped.is_set() or (played and cause is None and self._reconnect == 0):
                return
            if not played or self._clock() - seen >= self._reconnect:
                raise VideoError(
                    f"{self.name} gives no frames ({cause or 'it ended'}); {self.advice}"
                ) from cause
            self._stopped.wait(delay)
            delay = min(2 * delay, BACK_OFF[1])

    def stop(self) -> None:
        """See `Capture`."""
        self._stopped.set()
