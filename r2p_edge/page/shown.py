"""One source on the board: its newest picture, answers and state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from r2p_edge.frame import Image, Planes
from r2p_edge.page.jpeg_cell import JpegCell
from r2p_edge.prediction import Prediction

ShownPicture: TypeAlias = "Image | Planes | Callable[[], Image | Planes]"
"""A picture in RGB, planes, or a function that returns one of these when it is called."""

SourceState: TypeAlias = Literal["opening", "live", "lost", "ended"]

_ANSWERS = 100  # that are kept for /answers
_TOP = 5
_LONGEST_LABEL = 200  # letters


@dataclass(eq=False)
class Shown:
    """One source. Its fields are read and written under the board's lock.

    Attributes:
        name: name of the source.
        cell: its newest picture.
        state: state of its connection.
        note: a sentence about the state; "" for none.
        changed: number of the board's newest change that was about this source.
        pictured: number of the change by which its picture came; 0 for none.
        seen: seconds of the board's clock at which its newest frame came; None for none.
        wall: seconds since 1970 at which that frame was captured.
        kept: seconds of the board's clock at which a frame was last kept for viewers.
        looked: seconds of the board's clock at which somebody last asked for it.
        answers: newest answers with their numbers, as JSON types.
        reconnects: times that it came back after it was lost.
        summary: newest answer for the page, as JSON types.
    """

    name: str
    cell: JpegCell
    state: SourceState = "opening"
    note: str = ""
    changed: int = 0
    pictured: int = 0
    seen: float | None = None
    wall: float = 0.0
    kept: float = float("-inf")
    looked: float = float("-inf")
    answers: deque[tuple[int, dict[str, Any]]] = field(
        default_factory=lambda: deque(maxlen=_ANSWERS)
    )
    reconnects: int = 0
    summary: dict[str, Any] = field(default_factory=dict)

    def keep_answer(self, number: int, prediction: Prediction) -> None:
        """Keep an answer, without the frame that it refers to."""
        self.answers.append((number, prediction.to_dict(_TOP)))
        top = [[label[:_LONGEST_LABEL], score] for label, score in prediction.top(_TOP)]
        self.summary = {
            "label": prediction.label[:_LONGEST_LABEL] or None,
            "score": prediction.score,
            "kind": prediction.kind,
            "top": top,
        }
        if (live := prediction.live) is not None:
            self.summary |= {
                "still": live.still,
                "lag": round(live.age_ms / 1e3, 3),
                "gaps": live.gaps,
                "dropped": live.dropped,
                "skipped": live.skipped,
            }

    def to_dict(self, now: float) -> dict[str, Any]:
        """Return the newest of all, as JSON types.

        Args:
            now: seconds of the board's clock.
        """
        return {
            "name": self.name,
            "state": self.state,
            "note": self.note,
            "age": None if self.seen is None else round(max(now - self.seen, 0.0), 3),
            "wall": self.wall,
            "reconnects": self.reconnects,
            "answer": self.summary or None,
        }
