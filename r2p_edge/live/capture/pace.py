"""The pace of a network stream: finds out if its frames are read more slowly than they come."""

from __future__ import annotations

import math


class Pace:
    """Delay of a stream's packets, and whether the reader itself causes it.

    The packets that came quickest had no delay; the others are late by what they took longer.

    Args:
        patience: seconds by which packets may be late.

    Attributes:
        offset: seconds from a packet's time to the monotonic clock, without any delay.
        behind: True while the reader is too slow, so that frames have to be dropped.
    """

    OVERRUN = 2.0
    """Seconds through which the reader has to be busy and late before it counts as too slow."""

    _IDLE = 0.25  # share of the time; a reader that waits for more of it is not too slow
    _CATCH_UP = 1.0  # seconds over which a backlog shows by running faster than it was filmed
    _FASTER = 1.2
    _DRIFT = 1e-3  # seconds each second by which two clocks may differ
    _JUMP = 1.0  # seconds back that no reordering of frames explains

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.offset = math.inf
        self.behind = False
        self._time, self._now = -math.inf, 0.0
        self._watch_from(0.0, 0.0)

    def _watch_from(self, time: float, now: float) -> None:
        """Watch from this packet on if the reader keeps up."""
        self._start, self._since, self._waited = time, now, 0.0

    def read(self, time: float, asked: float, now: float) -> None:
        """Take note of a packet of this time that was asked for at `asked` and came at `now`."""
        if time < self._time - self._JUMP or math.isinf(self.offset):
            self.offset, self.behind = now - time, False
            self._watch_from(time, now)
        self.offset = min(now - time, self.offset + (now - self._now) * self._DRIFT)
        self._time, self._now = time, now
        late = now - time - self.offset
        self._waited += now - asked
        watched = now - self._since
        if late <= (self._patience / 2 if self.behind else self._patience):
            self.behind = False
        elif watched <= (self._CATCH_UP if self.behind else self.OVERRUN):
            return
        elif self.behind:
            # Once there is no backlog left, it is the sender or the network that is late.
            self.behind = time - self._start > self._FASTER * watched
        else:
            self.behind = self._waited < self._IDLE * watched
        self._watch_from(time, now)
