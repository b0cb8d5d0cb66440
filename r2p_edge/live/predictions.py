"""Reader threads for live sources, and the iterator that their answers come out of."""

from __future__ import annotations

import math
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from r2p_edge.errors import R2PError, StreamWarning, UsageError, VideoError
from r2p_edge.live.capture.open import Capture, open_capture
from r2p_edge.live.stream import Stream
from r2p_edge.live.systemd import Notifier
from r2p_edge.prediction import Prediction

if TYPE_CHECKING:
    from r2p_edge.predictor import Predictor

CLOSE_SECONDS = 2.0
"""How long `close` waits for a reader that is stuck in a read. It ends by itself when that does."""

_POLL_SECONDS = 0.5

_GRACE_SECONDS = 1.0
"""More than a reader needs to give up by itself, which it tells the reason of."""


def open_streams(
    predictor: Predictor,
    sources: Mapping[str, int | str | Path],
    *,
    policy: Literal["latest", "all"] | None = None,
    timeout: float = 10.0,
    reconnect: float = 60.0,
    transport: Literal["tcp", "udp"] = "tcp",
    notify: bool = False,
    **options: Any,
) -> Answers:
    """The answers on sources by name; see `Predictor.stream`, as for the errors."""
    if policy not in (None, "latest", "all"):
        raise UsageError(f"policy is {policy!r}; it must be 'latest' or 'all'")
    if transport not in ("tcp", "udp"):
        raise UsageError(f"transport is {transport!r}; it must be 'tcp' or 'udp'")
    if not timeout > 0 or not reconnect >= 0:
        raise UsageError(
            f"timeout is {timeout} and reconnect is {reconnect}; give seconds, more than 0 to wait "
            "and 0 or more to reconnect"
        )
    if not sources:
        raise UsageError("there are no sources to stream; give at least one")
    feeds: list[Feed] = []
    try:
        for name, source in sources.items():
            stream = Stream(predictor, name=name, **options)
            capture = open_capture(
                source,
                predictor.spec.clip,
                stream.buffer.tick,
                timeout=timeout,
                reconnect=reconnect,
                transport=transport,
            )
            if policy == "latest" and not capture.live:
                capture.close()
                raise UsageError(
                    f"{name} has an end and waits to be read, so no answer need be skipped; leave "
                    "out policy"
                )
            wanted = policy or ("latest" if capture.live else "all")
            patience = capture.timeout + reconnect + _GRACE_SECONDS
            feeds.append(Feed(stream, capture, wanted, patience))
    except BaseException:
        for feed in feeds:
            feed.capture.close()
        raise
    return Answers(feeds, notifier=Notifier() if notify else None)


class Feed:
    """A source and the stream that it feeds.

    Args:
        policy: "latest" skips windows that nobody has asked for in time, "all" waits.
        patience: seconds without any frame after which the source counts as hung.
    """

    def __init__(
        self, stream: Stream, capture: Capture, policy: Literal["latest", "all"], patience: float
    ) -> None:
        self.stream, self.capture = stream, capture
        self.waits = policy == "all"
        self._patience = patience if capture.live else math.inf
        self.started = self.ended = False
        self.error: BaseException | None = None
        self.waiting = False  # for its consumer
        self.seen = time.monotonic()

    @property
    def patience(self) -> float:
        """Seconds without any frame after which the source counts as hung."""
        # One that waits for its consumer is not.
        return math.inf if self.waiting else self._patience


class Answers(Iterator[Prediction]):
    """The answers on one or more streams, as they come.

    Iterate it from one thread or several: each answer is given once. It is closed by `close`,
    at the end of a `with`, and when it is dropped, as by a loop that is left.

    Raises:
        VideoError: a stream was lost for good, or a file ends before one clip is full. Where
            other streams go on, that is a `StreamWarning` instead.
        ModelError, BackendError: see `Predictor.predict`.
    """

    def __init__(self, feeds: Sequence[Feed], *, notifier: Notifier | None = None) -> None:
        self._feeds = list(feeds)
        self._notifier = notifier
        self._changed = threading.Condition()
        self._closed = threading.Event()
        # The threads hold no reference to this object, so that dropping it can end them.
        threads = [
            threading.Thread(
                target=_read,
                args=(feed, self._changed, self._closed),
                name=f"r2p_edge {feed.capture.name}",
                daemon=True,
            )
            for feed in feeds
        ]
        self._finalizer = weakref.finalize(
            self, _close, list(feeds), threads, self._changed, self._closed
        )
        for feed, thread in zip(feeds, threads):
            feed.seen = time.monotonic()  # the others took their time to open
            thread.start()

    def __next__(self) -> Prediction:
        while True:
            with self._changed:
                feed = self._next_feed()
                window = None if feed is None else feed.stream.buffer.take()
                if window is None:
                    self._wait()
                    continue
                self._changed.notify_all()
            assert feed is not None
            answer = feed.stream.judge(window)
            self._tell()
            return answer

    def _next_feed(self) -> Feed | None:
        """One with a window that is due, the feeds taking turns; None if none has."""
        if self._closed.is_set() or not self._feeds:
            raise StopIteration
        for feed in self._feeds:
            if feed.stream.buffer.due:
                self._feeds.remove(feed)
                self._feeds.append(feed)
                return feed
        for feed in self._feeds:
            feed.stream.check_breaks()
            hung = time.monotonic() - feed.seen > feed.patience
            if feed.ended or hung:
                self._feeds.remove(feed)
                self._part_with(feed)
                return None
        return None

    def _part_with(self, feed: Feed) -> None:
        """Raises a feed's error, or warns of it where there are other feeds."""
        error = feed.error
        if not feed.ended:
            feed.capture.stop()
            error = VideoError(
                f"{feed.capture.name} has given no frame for {feed.patience:g} s; check it, or "
                "wait longer (timeout)"
            )
        if error is None:
            if feed.capture.truncated:
                self._warn(f"{feed.capture.name} stops before the end that it declares")
            return
        if not self._feeds or not isinstance(error, R2PError):
            raise error
        self._warn(f"{error}; the other streams go on")

    def _warn(self, message: str) -> None:
        warnings.warn(message, StreamWarning, stacklevel=5)

    def _wait(self) -> None:
        interval = _POLL_SECONDS
        if self._notifier is not None and self._notifier.interval is not None:
            interval = min(interval, self._notifier.interval)
        self._tell()
        if self._feeds:
            self._changed.wait(min(interval, *(feed.patience for feed in self._feeds)))

    def _tell(self) -> None:
        if self._notifier is not None:
            if any(feed.started for feed in self._feeds):
                self._notifier.ready()
            self._notifier.alive()

    def close(self) -> None:
        """Ends the streams and frees their sources; from any thread, and twice if you like.

        A consumer that waits for the next answer gets no more.
        """
        if self._notifier is not None and self._finalizer.alive:
            self._notifier.stopping()
        self._finalizer()

    def __enter__(self) -> Answers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _read(feed: Feed, changed: threading.Condition, closed: threading.Event) -> None:
    """What a reader thread does: every tick frame goes into the stream's buffer."""
    buffer = feed.stream.buffer
    try:
        for shot in feed.capture.shots():
            feed.seen, feed.started = time.monotonic(), True
            for _ in buffer.add(shot):
                with changed:
                    changed.notify_all()
                    if feed.waits:
                        feed.waiting = True
                        changed.wait_for(lambda: closed.is_set() or not buffer.due)
                        feed.waiting, feed.seen = False, time.monotonic()
            feed.seen = time.monotonic()
            if closed.is_set():
                break
        if not (feed.capture.live or buffer.was_full or closed.is_set()):
            raise VideoError(
                f"{feed.capture.name} is shorter than a clip of the model, so it has no window "
                "to answer; predict repeats its last frame"
            )
    except BaseException as error:  # it is raised again by who waits for answers
        feed.error = error
    finally:
        feed.capture.close()
        with changed:
            feed.ended = True
            changed.notify_all()


def _close(
    feeds: list[Feed],
    threads: list[threading.Thread],
    changed: threading.Condition,
    closed: threading.Event,
) -> None:
    closed.set()
    for feed in feeds:
        feed.capture.stop()
    with changed:
        changed.notify_all()
    deadline = time.monotonic() + CLOSE_SECONDS
    for thread in threads:
        if thread is not threading.current_thread():  # where garbage is collected in one of them
            thread.join(max(deadline - time.monotonic(), 0))
