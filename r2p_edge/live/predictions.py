"""`PredictionStream`: reader threads for live sources, and the predictions that come of them."""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from r2p_edge.errors import R2PError, StreamWarning, VideoError, warn_caller
from r2p_edge.live.frame import Capture, LiveFrame
from r2p_edge.live.reports import DropReport
from r2p_edge.live.stream import Stream, predict_windows
from r2p_edge.prediction import Prediction

if TYPE_CHECKING:
    from r2p_edge.live.buffer import ClipWindow
    from r2p_edge.live.systemd import Notifier

CLOSE_SECONDS = 2.0
"""How long `close` waits for a reader that is stuck in a read. It ends by itself when that does."""

POLL_SECONDS = 0.5
"""How often a consumer that waits looks for a source that hangs."""

FrameHook = Callable[[str, LiveFrame], object]
"""A function that is shown each frame, and the name of its source."""

_log = logging.getLogger(__name__)


class FeedState(NamedTuple):
    """How a source of a `PredictionStream` does.

    Attributes:
        name: its name.
        state: "opening" before its first frame, "live", "lost" while it is opened again, "ended"
            after its last frame, or "failed" if it is given up.
        age: seconds since its newest frame, or since it was opened; 0 while it has to wait.
        note: what went wrong, without passwords; "" if nothing did.
    """

    name: str
    state: Literal["opening", "live", "lost", "ended", "failed"]
    age: float
    note: str


class Feed:
    """A source, the stream that it feeds, and the thread's work of reading one into the other.

    Args:
        policy: "latest" skips windows that nobody asked for in time; "all" lets the source wait.
        patience: seconds without a frame after which a live source counts as hung.
        clock: returns seconds of a monotonic clock.
        on_frame: is called with the name of the stream and each frame, in the reader's thread.

    Attributes:
        patience: as given; endless for a source that is not live.
        started: True once a frame came.
        ended: True once the reader has finished.
        error: what ended it, if anything did.
    """

    def __init__(
        self,
        stream: Stream,
        capture: Capture,
        policy: Literal["latest", "all"],
        patience: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_frame: FrameHook | None = None,
    ) -> None:
        self._on_frame = on_frame
        self.stream, self.capture = stream, capture
        self.patience = patience if capture.live else math.inf
        self._waits = policy == "all"
        self._waiting = False  # for its consumer
        self._clock = clock
        self.started = self.ended = False
        self.error: BaseException | None = None
        self._seen = clock()
        self._drops = DropReport(capture.name)

    @property
    def hung(self) -> bool:
        """True if the source has given no frame for too long, and not because it has to wait."""
        return not self._waiting and self._clock() - self._seen > self.patience

    @property
    def state(self) -> FeedState:
        """How the source does."""
        name = self.stream.name or self.capture.name
        age = 0.0 if self._waiting else self._clock() - self._seen
        if self.ended and self.stream.buffer.pending:  # its last answers are still to come
            return FeedState(name, "live", 0.0, "")
        if self.error is not None:
            return FeedState(name, "failed", age, str(self.error))
        if self.ended:
            return FeedState(name, "ended", age, "")
        if self.capture.lost:
            return FeedState(name, "lost", age, "it is opened again")
        if self.hung:
            return FeedState(name, "failed", age, f"no frame has come for {age:.0f} s")
        return FeedState(name, "live" if self.started else "opening", age, "")

    def begin(self) -> None:
        """Count the source's patience from now on: others took their time to open."""
        self._seen = self._clock()

    def read(self, changed: threading.Condition, closed: threading.Event) -> None:
        """Read the source to its end, in a thread of its own.

        Args:
            changed: is notified after each tick, and at the end.
            closed: ends the reading when it is set.
        """
        capture, buffer = self.capture, self.stream.buffer
        try:
            for frame in capture.frames():
                self._seen = self._clock()
                self._drops.add(frame.dropped, self._seen)
                if not self.started:
                    self.started = True
                    _log.info(
                        "%s: %s gives frames of %dx%d pixels",
                        capture.name,
                        type(capture).__name__,
                        *reversed(frame.size),
                    )
                if self._on_frame is not None:
                    self._on_frame(self.stream.name or capture.name, frame)
                for _ in buffer.add(frame):
                    with changed:
                        changed.notify_all()
                        if self._waits:
                            self._waiting = True
                            changed.wait_for(lambda: closed.is_set() or not buffer.pending)
                            self._waiting, self._seen = False, self._clock()
                self._seen = self._clock()
                if closed.is_set():
                    break
            if not (capture.live or buffer.was_full or closed.is_set()):
                raise VideoError(
                    f"{capture.name} is shorter than a clip of the model, {buffer.length:.3g} s, "
                    "and a stream answers whole clips; use predict, which repeats the last frame"
                )
        except BaseException as error:  # is raised again in the thread that waits for predictions
            self.error = error
        finally:
            capture.close()
            self._drops.finish()
            with changed:
                self.ended = True
                changed.notify_all()


class PredictionStream(Iterator[Prediction]):
    """The predictions on one or more live sources, as they come.

    Iterate it from one thread or several: each prediction is given once. It is closed by `close`,
    at the end of a `with`, and when it is dropped, as by a loop that is left.

    Args:
        feeds: the sources with their streams, which take turns.
        notifier: tells systemd that the service is ready and alive.
        batch: answer up to so many of them in one call of their model.

    Raises:
        VideoError: a source is lost for good, or a file ends before one clip is full. Where other
            sources go on, that is a `StreamWarning` instead.
        ModelError, BackendError: see `Predictor.predict`.
    """

    def __init__(
        self, feeds: Sequence[Feed], *, notifier: Notifier | None = None, batch: int = 1
    ) -> None:
        self._all, self._feeds = list(feeds), list(feeds)
        self._batch = batch
        self._answered: deque[Prediction] = deque()  # together with one that was given already
        self._notifier = notifier
        self._changed = threading.Condition()
        self._closed = threading.Event()
        # The threads hold no reference to this object, so that dropping it can end them.
        threads = [
            threading.Thread(
                target=feed.read,
                args=(self._changed, self._closed),
                name=f"r2p_edge {feed.capture.name}",
                daemon=True,
            )
            for feed in feeds
        ]
        self._finalizer = weakref.finalize(
            self, _close, list(feeds), threads, self._changed, self._closed
        )
        for feed, thread in zip(feeds, threads):
            feed.begin()
            thread.start()

    def __next__(self) -> Prediction:
        while True:
            prediction = self.next_within(POLL_SECONDS)
            if prediction is not None:
                return prediction

    def next_within(self, seconds: float) -> Prediction | None:
        """Return the next prediction; None if there is none within so many seconds.

        Raises:
            StopIteration: all sources have ended.
            VideoError, ModelError, BackendError: as for the iterator.
        """
        deadline = time.monotonic() + seconds
        while True:
            with self._changed:
                if self._answered and not self._closed.is_set():
                    return self._answered.popleft()
                due = self._take_due()
                if not due:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return None
                    self._wait(left)
                    continue
                self._changed.notify_all()
            answers = predict_windows(due)
            self._notify()
            with self._changed:
                self._answered.extend(answers[1:])
                self._changed.notify_all()
            if answers:
                return answers[0]
            if time.monotonic() >= deadline:  # steps alone may go on and on
                return None

    def states(self) -> list[FeedState]:
        """Return how each source does, in the order in which they were given."""
        with self._changed:
            answered = {answer.live.source for answer in self._answered if answer.live}
        return [
            state._replace(state="live") if state.name in answered else state
            for state in (feed.state for feed in self._all)
        ]

    def _take_due(self) -> list[tuple[Stream, ClipWindow]]:
        """Take the windows that are due, in turn, as many as one call of the model answers."""
        taken: list[tuple[Stream, ClipWindow]] = []
        clips = 0
        # What features answer has no fixed batch.
        while clips < self._batch:
            # Once there is one, the errors of other sources can wait.
            if taken and not any(feed.stream.buffer.due for feed in self._feeds):
                break
            feed = self._next_feed()
            if feed is None:
                break
            window = feed.stream.buffer.take()
            if window is not None:
                taken.append((feed.stream, window))
                clips += window.pixels is not None or window.still
        return taken

    def _next_feed(self) -> Feed | None:
        """Return a feed with a window that is due, in turn; None if there is none."""
        while not self._closed.is_set() and self._feeds:
            for feed in self._feeds:
                if feed.stream.buffer.due:
                    self._feeds.remove(feed)
                    self._feeds.append(feed)
                    return feed
            over = None
            for feed in self._feeds:
                feed.stream.check_health()
                done = feed.ended and not feed.stream.buffer.pending
                if done or feed.hung:
                    over = feed
                    break
            if over is None:
                return None
            self._feeds.remove(over)
            self._give_up(over)
        raise StopIteration

    def _give_up(self, feed: Feed) -> None:
        """Raise a feed's error, or warn of it where there are other feeds."""
        error = feed.error
        if not feed.ended:
            feed.capture.stop()
            error = VideoError(
                f"{feed.capture.name} has given no frame for {feed.patience:g} s; check it, or "
                "wait longer (timeout)"
            )
        _log.info("%s: ended (%s)", feed.capture.name, error or "no more frames")
        if error is None:
            if feed.capture.truncated:
                message = f"{feed.capture.name} stops before the end that it declares"
                warn_caller(message, StreamWarning)
            return
        if not self._feeds or not isinstance(error, R2PError):
            raise error
        warn_caller(f"{error}; the other streams go on", StreamWarning)

    def _wait(self, seconds: float) -> None:
        interval = min(POLL_SECONDS, seconds)
        if self._notifier is not None and self._notifier.interval is not None:
            interval = min(interval, self._notifier.interval)
        self._notify()
        self._changed.wait(interval)

    def _notify(self) -> None:
        if self._notifier is not None:
            if any(feed.started for feed in self._feeds):
                self._notifier.ready()
            self._notifier.alive()

    def close(self) -> None:
        """End the streams and free their sources; from any thread, more than once if you like.

        A consumer that waits for the next prediction gets no more.
        """
        if self._notifier is not None and self._finalizer.alive:
            self._notifier.stopping()
        self._finalizer()

    def __enter__(self) -> PredictionStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
