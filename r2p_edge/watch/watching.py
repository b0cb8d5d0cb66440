"""`Watch`: several sources over one model, the events on them, and who is told."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2p_edge.live.credentials import Credentials
from r2p_edge.live.frame import LiveFrame
from r2p_edge.live.options import StreamOptions
from r2p_edge.live.predictions import FeedState
from r2p_edge.prediction import Prediction
from r2p_edge.scores import require_scores
from r2p_edge.watch.clips import ClipFrame, ClipRecorder
from r2p_edge.watch.delivery import FINISH_SECONDS, Sink, SinkCounts, SinkQueue, finish_all
from r2p_edge.watch.events import EndedBy, Event, EventDetector
from r2p_edge.watch.observer import ObservedState, Observer
from r2p_edge.watch.pictures import EventPictures, PictureCounts
from r2p_edge.watch.rules import EventRule, check_rules
from r2p_edge.watch.sources import NamedSource, by_name

if TYPE_CHECKING:
    from r2p_edge.predictor import Predictor

LOOK_SECONDS = 0.5
"""Seconds from one look at the sources to the next, while no answer comes."""

SILENCE = 10.0
"""Seconds without a frame that end an event."""

_OBSERVED: dict[str, ObservedState] = {
    "opening": "opening",
    "live": "live",
    "lost": "lost",
    "ended": "ended",
    "failed": "ended",
}


class Watch(Iterator[Prediction]):
    """The answers on several sources, each under its name, and their events.

    Iterate it for the answers, which are those of `Predictor.stream_many`. On the way each rule
    finds its events in the answers of each source, and the sinks are told. An event ends where
    its score falls, where the source is interrupted or lost, and with the watch. Neither a sink
    nor a full disk lets the model wait.

    Args:
        predictor: the model.
        sources: what to watch. A live source that is lost is waited for without end, unless
            `reconnect` says otherwise.
        rules: when events begin and end.
        sinks: are told the events, each through a queue of its own, which is closed with the
            watch.
        pictures: folder for a JPEG picture of each event; None for none.
        clips: write a film of each event into that folder, too.
        credentials: users and passwords of the sources.
        options: of all sources, see `Predictor.stream`.
        observer: is told everything else.
        notify: send systemd READY and WATCHDOG, see `Predictor.stream`.
        clock: returns seconds of a monotonic clock.
        wall: returns seconds since 1970.

    Raises:
        UsageError: two sources or rules have one name, a label is unknown, or an option is wrong.
        OutputError: the folder cannot be made.
        R2PError: see `Predictor.stream`.
    """

    def __init__(
        self,
        predictor: Predictor,
        sources: Sequence[NamedSource],
        rules: Sequence[EventRule] = (),
        *,
        sinks: Sequence[Sink | SinkQueue] = (),
        pictures: str | Path | None = None,
        clips: bool = False,
        credentials: Credentials | None = None,
        options: StreamOptions | None = None,
        observer: Observer | None = None,
        notify: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        named = by_name(sources)
        require_scores(predictor.spec, predictor.spec.name)
        check_rules(rules, predictor.spec.labels, classes=predictor.spec.output.kind != "values")
        secrets = credentials or Credentials()
        self._observer, self._clock, self._wall = observer, clock, wall
        self._recorder = ClipRecorder() if clips and pictures is not None else None
        self._snapshots = pictures is not None
        model = predictor.spec.contract_digest()
        self._detectors = {
            name: [EventDetector(rule, name, model) for rule in rules] for name in named
        }
        self._states: dict[str, FeedState] = {}
        self._looked = -math.inf
        self._open = True
        common: dict[str, Any] = {"reconnect": math.inf, **(options or {})}
        self._stream = predictor.stream_many(
            {name: secrets.applied(name, each.source) for name, each in named.items()},
            options={name: each.options for name, each in named.items()},
            notify=notify,
            on_frame=self._show_frame if observer or self._recorder else None,
            **common,
        )
        try:
            self._queues = [
                each if isinstance(each, SinkQueue) else SinkQueue(each) for each in sinks
            ]
            self._pictures = EventPictures(pictures, self._tell)
        except BaseException:
            self._stream.close()
            raise
        self._look()

    @property
    def counts(self) -> dict[str, SinkCounts]:
        """Numbers of the events for each sink, by its name."""
        return {queue.name: queue.counts for queue in self._queues}

    @property
    def picture_counts(self) -> PictureCounts:
        """Numbers of the pictures of events."""
        return self._pictures.counts

    def __next__(self) -> Prediction:
        while True:
            try:
                answer = self._stream.next_within(LOOK_SECONDS)
            except StopIteration:
                self._look()
                self._end_all("ended")
                raise
            if answer is not None:
                self._take(answer)  # first: its source may have ended meanwhile
            if self._clock() - self._looked >= LOOK_SECONDS:
                self._look()
            if answer is not None:
                return answer

    def _take(self, answer: Prediction) -> None:
        """Look for events in an answer."""
        assert answer.live is not None
        name = str(answer.live.source)
        if self._observer is not None:
            self._observer.answer(name, answer)
        for detector in self._detectors[name]:
            for event in detector.add(answer):
                self._put(event, answer)

    def _put(self, event: Event, answer: Prediction | None = None) -> None:
        """Let an event have its pictures, and be told."""
        image, film = None, None
        if event.type == "begin":
            if answer is not None and answer.live is not None and self._snapshots:
                live = answer.live
                image = lambda: live.image  # noqa: E731 (its conversion belongs to the writer)
            if self._recorder is not None:
                self._recorder.begin(event.source)
        elif self._recorder is not None:
            film = self._film(event)
        self._pictures.put(event, image, film)

    def _film(self, event: Event) -> list[ClipFrame]:
        assert self._recorder is not None
        # No event goes on across a gap, so the two clocks keep step in it.
        return self._recorder.end(event.source, event.wall - (event.end - event.start), event.wall)

    def _tell(self, event: Event) -> None:
        """Tell an event to everybody."""
        message = event.to_dict()
        if self._observer is not None:
            self._observer.event(message)
        for queue in self._queues:
            queue.put(message)

    def _look(self) -> None:
        """Look how the sources do; end the events of those that are silent."""
        self._looked = self._clock()
        self._pictures.look_after()
        for queue in self._queues:
            if queue.error is not None:
                raise queue.error
        for state in self._stream.states():
            former = self._states.get(state.name)
            self._states[state.name] = state
            news = former is None or former.state != state.state
            if news and self._observer is not None:
                self._observer.state(state.name, _OBSERVED[state.state], state.note)
            if state.state in ("ended", "failed"):
                self._end(state.name, "ended")
            elif state.state == "lost" or state.age > SILENCE:
                self._end(state.name, "lost")

    def _end(self, name: str, cause: EndedBy) -> None:
        for detector in self._detectors[name]:
            for event in detector.interrupt(cause):
                self._put(event)

    def _end_all(self, cause: EndedBy) -> None:
        for name in self._detectors:
            self._end(name, cause)

    def _show_frame(self, name: str, frame: LiveFrame) -> None:
        """Show a frame to the observer and the recorder; in the thread that reads it."""
        picture = frame.picture if frame.color == "RGB" else frame.image
        wall = self._wall() - max(self._clock() - frame.captured, 0.0)
        if self._observer is not None:
            self._observer.frame(name, picture, wall)
        if self._recorder is not None:
            self._recorder.add(name, picture, wall)

    def close(self) -> None:
        """End the events and the streams, and let the sinks deliver what waits, for 5 s at most."""
        if not self._open:
            return
        self._open = False
        self._stream.close()
        self._end_all("stopped")
        self._pictures.close(FINISH_SECONDS)
        finish_all(self._queues)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
