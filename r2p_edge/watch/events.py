"""Events: when a rule begins and ceases to hold on a source."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from r2p_edge.prediction import Prediction, utc_text
from r2p_edge.watch.rules import EventRule

EndedBy = Literal["score", "gap", "lost", "ended", "stopped"]
"""Why an event ended, see `Event`."""

_SHOWN_SCORES = 5


@dataclass(frozen=True)
class Event:
    """The begin or the end of an event.

    Attributes:
        id: the same for the begin and the end of one event, and for no other.
        type: "begin" or "end".
        source: name of the source.
        rule: name of the rule.
        label: class of the model.
        score: highest score of the label so far.
        scores: the best five classes and their scores at that moment.
        wall: when it began, or ended, in seconds since 1970.
        start: first moment of the first window with the label, in seconds of the source's clock.
        end: last moment of the last such window, so far.
        model: sha256 of the model's contract.
        ended_by: "score" where that fell, "gap" where the stream was interrupted, "lost" where no
            answers came any more, "ended" with the source, "stopped" with the watch; None for a
            begin.
        snapshot: path of a JPEG file of the begin; None if there is none.
        clip: path of a film, of an end; None if there is none.
    """

    id: str
    type: Literal["begin", "end"]
    source: str
    rule: str
    label: str
    score: float
    scores: dict[str, float]
    wall: float
    start: float
    end: float
    model: str
    ended_by: EndedBy | None = None
    snapshot: str | None = None
    clip: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes in plain JSON types; `wall` is in UTC in ISO 8601."""
        return {**asdict(self), "wall": utc_text(self.wall)}


@dataclass
class _Run:
    """Windows in a row that show a label.

    Attributes:
        start, end: seconds of the source's clock.
        first_end: end of the first window.
        began, ended: the same moments in seconds since 1970.
        score, scores: highest score, and those of all classes then.
        id: of the event; "" while it is too short to be one.
    """

    start: float
    first_end: float
    began: float
    end: float = 0.0
    ended: float = 0.0
    score: float = float("-inf")
    scores: dict[str, float] | None = None
    id: str = ""


class EventDetector:
    """The events of one rule on one source.

    Args:
        rule: when they begin and end.
        source: name of the source.
        model: digest of the model.
        new_id: returns the identity of a new event.

    Attributes:
        source: as given.
        active: True between the begin and the end of an event.
    """

    def __init__(
        self,
        rule: EventRule,
        source: str,
        model: str,
        *,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.source = source
        self._rule, self._model, self._new_id = rule, model, new_id
        self._run: _Run | None = None
        self._gaps: int | None = None
        self._over: tuple[float, float, int] | None = None  # of the last event: end, wall, gaps

    @property
    def active(self) -> bool:
        """True between the begin and the end of an event."""
        return self._run is not None and bool(self._run.id)

    def add(self, answer: Prediction) -> list[Event]:
        """Take in the next answer on the source; return what begins or ends with it."""
        live, rule = answer.live, self._rule
        assert live is not None
        found: list[Event] = []
        if self._gaps is not None and live.gaps != self._gaps:
            found += self.interrupt("gap")
        self._gaps = live.gaps
        score = float(answer.scores[answer.labels.index(rule.label)])
        needed = rule.threshold - (0.0 if self._run is None else rule.hysteresis)
        if score <= needed or live.still:
            return found + self.interrupt("score")
        (start, end), wall = answer.span, live.wall
        if self._run is None:
            if self._cools(end, wall, live.gaps):
                return found
            self._run = _Run(start, end, wall - (end - start))
        run = self._run
        run.end, run.ended = end, wall
        if score > run.score:
            run.score, run.scores = score, dict(answer.top(_SHOWN_SCORES))
        if not run.id and end - run.first_end >= rule.min_length:
            run.id = self._new_id()
            found.append(self._event(run, "begin", None))
        return found

    def interrupt(self, cause: EndedBy) -> list[Event]:
        """End the event that is active, if there is one; return its end."""
        run, self._run = self._run, None
        if run is None or not run.id:
            return []
        self._over = run.end, run.ended, self._gaps or 0
        return [self._event(run, "end", cause)]

    def _cools(self, end: float, wall: float, gaps: int) -> bool:
        """Return True if the last event is over for too short a time."""
        if self._over is None:
            return False
        last, last_wall, last_gaps = self._over
        # The source's own clock may begin anew after a gap.
        since = end - last if gaps == last_gaps else wall - last_wall
        return 0 <= since < self._rule.cool_down

    def _event(self, run: _Run, kind: Literal["begin", "end"], cause: EndedBy | None) -> Event:
        return Event(
            id=run.id,
            type=kind,
            source=self.source,
            rule=self._rule.name,
            label=self._rule.label,
            score=run.score,
            scores=run.scores or {},
            wall=run.began if kind == "begin" else run.ended,
            start=round(run.start, 6),
            end=round(run.end, 6),
            model=self._model,
            ended_by=cause,
        )
