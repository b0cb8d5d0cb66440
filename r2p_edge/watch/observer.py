"""The interface of what looks on while a watch goes on, such as a page in a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from r2p_edge.frame import Image, Planes
from r2p_edge.prediction import Prediction

ObservedState = Literal["opening", "live", "lost", "ended"]
"""State of a source as an observer is told it."""


class Observer(Protocol):
    """An object that is told what happens. It must return at once, and raise nothing."""

    def frame(self, source: str, picture: Callable[[], Image | Planes], wall_s: float, /) -> object:
        """Take note of a frame, in the thread that reads its source.

        Args:
            source: name of the source.
            picture: returns the pixels in RGB, uint8 (H, W, 3), or planes.
            wall_s: when it was captured, in seconds since 1970.
        """

    def answer(self, source: str, prediction: Prediction, /) -> object:
        """Take note of an answer on a source."""

    def state(self, source: str, state: ObservedState, note: str, /) -> object:
        """Take note of a source's new state, and of what went wrong, which holds no password."""

    def event(self, event: Mapping[str, Any], /) -> object:
        """Take note of an event, in the JSON types of `Event.to_dict`."""
