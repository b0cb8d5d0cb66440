"""Live sources: they go on by themselves, and are opened again when they are lost."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from r2p_edge.errors import VideoError
from r2p_edge.live.frame import LiveFrame

BACK_OFF = (0.5, 10.0)
"""Seconds from one attempt to reconnect to the next: at first, and at most."""

Wait = Callable[[threading.Event, float], object]
"""A function that waits for an event, but at most this many seconds."""

_log = logging.getLogger(__name__)


class LiveCapture(ABC):
    """A source that goes on by itself, and is opened again, ever more slowly, when it is lost.

    Args:
        name: name for messages.
        reconnect: seconds without a frame after which it is lost for good.
        clock: returns seconds of a monotonic clock.
        wait: waits from one attempt to reconnect to the next.
    """

    live = True
    truncated = False
    timeout: float
    advice = "check that it is on"

    def __init__(
        self,
        name: str,
        *,
        reconnect: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Wait = threading.Event.wait,
    ) -> None:
        self.name = name
        self._reconnect, self._clock, self._wait = reconnect, clock, wait
        self._stopped = threading.Event()
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Open the source, or raise VideoError."""

    @abstractmethod
    def _play(self) -> Iterator[LiveFrame]:
        """Yield frames until the source is lost; then end, or raise VideoError."""

    @abstractmethod
    def close(self) -> None:
        """Release the source; see `Capture`."""

    def frames(self) -> Iterator[LiveFrame]:
        """Yield the frames of the source, which is opened again when it is lost; see `Capture`."""
        opened, played, lost = True, False, False
        seen, delay = self._clock(), BACK_OFF[0]
        while not self._stopped.is_set():
            cause: VideoError | None = None
            joined = False
            try:
                if not opened:
                    self._open()
                for frame in self._play():
                    if lost:
                        _log.info("%s is back after %.1f s", self.name, self._clock() - seen)
                        lost = False
                    yield frame._replace(joined=joined and frame.joined)
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
            if not lost:
                lost = True
                _log.warning(
                    "%s is lost (%s) and is opened again, for at most %g s",
                    self.name,
                    cause or "it ended",
                    self._reconnect,
                )
            self._wait(self._stopped, delay)
            delay = min(2 * delay, BACK_OFF[1])

    def stop(self) -> None:
        """Make `frames` end soon; see `Capture`."""
        self._stopped.set()
