"""The newest events, and the numbers by which a reader goes on where it was cut off."""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

_KEPT = 1000


class NumberedEvent(NamedTuple):
    """An event with its number, which is one more than that of the event before.

    Attributes:
        number: its number, from 1 on.
        data: the event as JSON in one line of ASCII.
    """

    number: int
    data: str


class EventRing:
    """The newest 1,000 events. Safe to share between threads.

    Attributes:
        run: name of this run of the program: the numbers of another run mean nothing in it.
    """

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        self._changed = threading.Condition()
        self._events: deque[NumberedEvent] = deque(maxlen=_KEPT)
        self._newest = 0

    @property
    def newest(self) -> int:
        """Number of the newest event; 0 before the first."""
        return self._newest

    def add(self, event: Mapping[str, Any]) -> None:
        """Add an event of JSON types."""
        data = json.dumps(event)
        with self._changed:
            self._newest += 1
            self._events.append(NumberedEvent(self._newest, data))
            self._changed.notify_all()

    def since(self, number: int) -> list[NumberedEvent]:
        """Return the events after this number that are still kept, oldest first."""
        with self._changed:
            return [event for event in self._events if event.number > number]

    def wait(self, number: int, seconds: float) -> list[NumberedEvent]:
        """Return the events after this number; wait at most so long for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest > number, seconds)
        return self.since(number)

    def name(self, number: int) -> str:
        """Return the `id` of an event for its reader."""
        return f"{self.run}-{number}"

    def number(self, name: str) -> int:
        """Return the number of an event by its `id`; 0 if it is of another run, or none."""
        run, _, number = name.rpartition("-")
        known = run in (self.run, "") and number.isascii() and number.isdecimal()
        return min(int(number[:18]), self._newest) if known else 0
