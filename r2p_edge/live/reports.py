"""Reports of a stream beside its predictions: warnings, dropped frames, names for the log."""

from __future__ import annotations

import logging
import math
import re
import sys
import warnings

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


def warn_caller(message: str, category: type[Warning]) -> None:
    """Issue a warning that points to the line outside this package that led to it."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].split(".")[0] == "r2p_edge":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def without_password(source: str) -> str:
    """Return an address with `***` for its password; anything else as it is."""
    return re.sub(r"(://[^/@:\s]*):[^/@\s]*@", r"\1:***@", source)
