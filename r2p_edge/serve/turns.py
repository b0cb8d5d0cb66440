"""Turns at something that serves one at a time: first come, first served, and so many may wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

_LOOK_SECONDS = 0.25  # between looks whether the one that waits is still wanted


class QueueFullError(Exception):
    """So many wait already that there is no place for one more."""


class NotWantedError(Exception):
    """The one that waited is not wanted any more."""


class Turns:
    """Turns of threads, in the order in which they came.

    A lock would give the turn to any of them, so that some wait for long.

    Args:
        limit: greatest number of threads that wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: deque[threading.Event] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def check(self) -> None:
        """Raise QueueFullError if there is no place, for those who would first have to read."""
        if self._busy and len(self._waiting) >= self._limit:
            raise QueueFullError

    @contextlib.contextmanager
    def turn(self, unwanted: Callable[[], bool] = lambda: False) -> Iterator[float]:
        """Wait for a turn, which lasts until the `with` block ends.

        Args:
            unwanted: returns True once nobody wants the turn any more; asked while it waits.

        Yields:
            Seconds that it has waited.

        Raises:
            QueueFullError: too many wait already.
            NotWantedError: see `unwanted`.
        """
        started = time.monotonic()
        with self._lock:
            mine = threading.Event()
            if not self._busy:
                self._busy = True
                mine.set()
            elif len(self._waiting) >= self._limit:
                raise QueueFullError
            else:
                self._waiting.append(mine)
        try:
            while not mine.wait(_LOOK_SECONDS):
                if unwanted():
                    raise NotWantedError
            yield time.monotonic() - started
        finally:
            self._pass_on(mine)

    def _pass_on(self, mine: threading.Event) -> None:
        """Give the turn to the next, or leave the queue."""
        with self._lock:
            if not mine.is_set():
                self._waiting.remove(mine)
            elif self._waiting:
                self._waiting.popleft().set()
            else:
                self._busy = False
