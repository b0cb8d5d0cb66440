"""Live sources: they go on by themselves, and are opened again when they are lost."""

from __future__ import annotations

import logging
import math
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
        reconnect: seconds without a frame after which it is lost for good. With `math.inf` it is
            opened where its frames are read, and waited for even if it never came.
        clock: returns seconds of a monotonic clock.
        wait: waits from one attempt to reconnect to the next.

    Attributes:
        lost: True while it is opened again.
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
        self.lost = self._is_open = False
        if not self.patient:
            self._begin()

    @property
    def patient(self) -> bool:
        """True if it is never given up."""
        return math.isinf(self._reconnect)

    @abstractmethod
    def _open(self) -> None:
        """Open the source, or raise VideoError."""

    @abstractmethod
    def _play(self) -> Iterator[LiveFrame]:
        """Yield frames until the source is lost; then end, or raise VideoError."""

    @abstractmethod
    def _release(self) -> None:
        """Release the source, which is open."""

    def _begin(self) -> None:
        """Open the source if it is not open yet, or raise VideoError."""
        if not self._is_open:
            self._open()
            self._is_open = True

    def close(self) -> None:
        """Release the source; see `Capture`."""
        if self._is_open:
            self._is_open = False
            self._release()

    def frames(self) -> Iterator[LiveFrame]:
        """Yield the frames of the source, which is opened again when it is lost; see `Capture`."""
        played = False
        seen, delay = self._clock(), BACK_OFF[0]
        while not self._stopped.is_set():
            cause: VideoError | None = None
            joined = False
            try:
                self._begin()
                for frame in self._play():
                    if self.lost:
                        _log.info("%s is back after %.1f s", self.name, self._clock() - seen)
                        self.lost = False
                    yield frame._replace(joined=joined and frame.joined)
                    seen, delay = self._clock(), BACK_OFF[0]
                    played = joined = True
            except VideoError as error:
                cause = error
            self.close()
            if self._stopped.is_set() or (played and cause is None and self._reconnect == 0):
                return
            if not (played or self.patient) or self._clock() - seen >= self._reconnect:
                raise VideoError(
                    f"{self.name} gives no frames ({cause or 'it ended'}); {self.advice}"
                ) from cause
            if not self.lost:
                self.lost = True
                _log.warning(
                    "%s %s (%s) and is opened again%s",
                    self.name,
                    "is lost" if played else "gives no frames",
                    cause or "it ended",
                    "" if self.patient else f", for at most {self._reconnect:g} s",
                )
            self._wait(self._stopped, delay)
            delay = min(2 * delay, BACK_OFF[1])

    def stop(self) -> None:
        """Make `frames` end soon; see `Capture`."""
        self._stopped.set()
