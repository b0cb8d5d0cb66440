"""The way of events to their receivers: a queue for each, which never lets the watch wait."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from r2p_edge.errors import count_of
from r2p_edge.live.reports import DropReport

_QUEUE = 256  # messages that wait for a sink at most

FINISH_SECONDS = 5.0
"""How long sinks may take for what waits, at the end of a watch."""

_log = logging.getLogger(__name__)


class DeliveryError(Exception):
    """A receiver did not take a message; the text says why, without addresses."""


class Sink(Protocol):
    """A receiver of messages.

    Attributes:
        name: name for the log, without passwords.
    """

    name: str

    def send(self, message: Mapping[str, Any], stop: threading.Event) -> None:
        """Deliver a message, however long it takes.

        Args:
            message: an event in JSON types.
            stop: is set when the watch ends and nothing is to be tried again.

        Raises:
            DeliveryError: it was not taken.
        """

    def close(self) -> None:
        """Release what the sink holds."""


class SinkCounts(NamedTuple):
    """Numbers of the messages for a sink.

    Attributes:
        sent: delivered.
        failed: given up, as they could not be delivered.
        dropped: the oldest of a full queue.
        waiting: in the queue, or being delivered.
    """

    sent: int
    failed: int
    dropped: int
    waiting: int


class SinkQueue:
    """A sink with a thread of its own, and a queue that drops the oldest when it is full.

    Args:
        sink: the receiver.
        size: messages that wait at most.
        clock: returns seconds of a monotonic clock, for the log.

    Attributes:
        name: name of the sink.
        error: what ended the thread, other than a `DeliveryError`.
    """

    def __init__(
        self, sink: Sink, *, size: int = _QUEUE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = sink.name
        self.error: BaseException | None = None
        self._sink, self._size, self._clock = sink, size, clock
        self._messages: deque[Mapping[str, Any]] = deque()
        self._changed = threading.Condition()
        self._stop, self._closing, self._busy = threading.Event(), False, False
        self._sent = self._failed = self._dropped = 0
        self._drops = DropReport(sink.name, "%s: %s dropped, as it is too slow", "message")
        self._failures = DropReport(sink.name, "%s: %s not delivered (%s)", "message")
        self._reason = ""
        self._thread = threading.Thread(
            target=self._work, name=f"r2p_edge {sink.name}", daemon=True
        )
        self._thread.start()

    @property
    def counts(self) -> SinkCounts:
        """Numbers of the messages so far."""
        with self._changed:
            waiting = len(self._messages) + self._busy
            return SinkCounts(self._sent, self._failed, self._dropped, waiting)

    def put(self, message: Mapping[str, Any]) -> None:
        """Let a message be delivered; this returns at once."""
        with self._changed:
            if len(self._messages) >= self._size:
                self._messages.popleft()
                self._dropped += 1
                self._drops.add(1, self._clock())
            self._messages.append(message)
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._messages or self._closing)
                if not self._messages or self._stop.is_set():
                    return
                message, self._busy = self._messages.popleft(), True
            try:
                self._sink.send(message, self._stop)
            except DeliveryError as error:
                self._count(failed=1)
                self._reason = str(error)
                self._failures.add(1, self._clock(), self._reason)
            except BaseException as error:  # is raised again in the thread that watches
                self._count(failed=1)
                self.error = error
                return
            else:
                self._count(sent=1)

    def _count(self, *, sent: int = 0, failed: int = 0) -> None:
        with self._changed:
            self._sent += sent
            self._failed += failed
            self._busy = False
            self._changed.notify_all()

    def finish(self, deadline: float) -> None:
        """Deliver what waits, until a moment of `time.monotonic`, and release the sink."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(max(deadline - time.monotonic(), 0.0))
        self._stop.set()
        self._thread.join(0.5)
        self._report()
        if not self._thread.is_alive():  # else it may be in use
            with contextlib.suppress(Exception):
                self._sink.close()

    def _report(self) -> None:
        """Log, at the end, how many messages were lost in all, and why."""
        sent, failed, dropped, waiting = self.counts
        causes = {
            f"not delivered ({self._reason})": failed,
            "dropped, as it is too slow": dropped,
            "too late for the end": waiting,
        }
        if lost := failed + dropped + waiting:
            told = [f"{count} {cause}" for cause, count in causes.items() if count]
            all_of_them = count_of(sent + lost, "message")
            _log.warning("%s: lost %d of %s: %s", self.name, lost, all_of_them, "; ".join(told))


def finish_all(queues: Sequence[SinkQueue], seconds: float = FINISH_SECONDS) -> None:
    """Finish queues, all of them within so many seconds."""
    deadline = time.monotonic() + seconds
    for queue in queues:
        queue.finish(deadline)
