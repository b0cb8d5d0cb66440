"""The log of what is lost again and again, such as a stream's dropped frames."""

from __future__ import annotations

import logging
import math

from r2p_edge.errors import count_of

DROPPED_SECONDS = 60.0
"""Least time from one log message about dropped frames to the next."""

_FRAMES = "%s: %s dropped, damaged or coming faster than they were read"

_log = logging.getLogger(__name__)


class DropReport:
    """Losses of a source or receiver, logged at most once a minute.

    Args:
        name: its name.
        text: the message, of the name, what was lost, and the details of `add`.
        noun: word for one of what is lost.
    """

    def __init__(self, name: str, text: str = _FRAMES, noun: str = "frame") -> None:
        self._name, self._text, self._noun = name, text, noun
        self._count, self._reported = 0, -math.inf
        self._details: tuple[object, ...] = ()

    def add(self, count: int, now: float, *details: object) -> None:
        """Count what was lost, and log it with what was lost since the last message if it is time.

        Args:
            now: seconds of a monotonic clock.
            details: what else the message says.
        """
        self._count += count
        self._details = details
        if self._count and now - self._reported >= DROPPED_SECONDS:
            self._reported = now
            self.finish()

    def finish(self) -> None:
        """Log what no message has named yet."""
        if self._count:
            lost = count_of(self._count, self._noun)
            _log.warning(self._text, self._name, lost, *self._details)
            self._count = 0
