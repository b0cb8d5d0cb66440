"""The log of a stream's dropped frames."""

from __future__ import annotations

import logging
import math

DROPPED_SECONDS = 60.0
"""Least time from one log message about dropped frames to the next."""

_log = logging.getLogger(__name__)


class DropReport:
    """The frames that a source dropped, logged at most once a minute.

    Args:
        name: name of the source.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._count, self._reported = 0, -math.inf

    def add(self, count: int, now: float) -> None:
        """Count dropped frames, and log those since the last message if it is time to.

        Args:
            now: seconds of a monotonic clock.
        """
        self._count += count
        if self._count and now - self._reported >= DROPPED_SECONDS:
            self._reported = now
            self.finish()

    def finish(self) -> None:
        """Log the dropped frames that no message has named yet."""
        if self._count:
            _log.warning(
                "%s: %d frames were dropped: they were damaged or came faster than they were read",
                self._name,
                self._count,
            )
            self._count = 0
