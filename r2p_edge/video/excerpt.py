"""A part of a video, from one moment to another, as if it were all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from r2p_edge.errors import VideoError
from r2p_edge.frame import Image, Planes
from r2p_edge.video.sampling import TIE, ShorterThanDeclaredError, Times, duration_of
from r2p_edge.video.source import Source

SLACK_SECONDS = 1.0
"""Seconds by which a part may end after the video, as lists in whole seconds have it."""


class Excerpt:
    """The frames of a video that are shown from `start` on and before `end`; a `Source`.

    Args:
        video: opened and closed by the caller.
        start, end: seconds after its first frame; `end` may be infinite.

    Attributes:
        whole: the video.
        offset: time of the part's first frame, in seconds after that of the video.

    Raises:
        VideoError: the video ends before the part does.
    """

    def __init__(self, video: Source, start: float, end: float) -> None:
        self.name = video.name
        self.whole, self._start, self._end = video, start, end
        self._choose()

    def _choose(self) -> None:
        self.truncated = self.whole.truncated
        times = self.whole.times
        first, last = np.searchsorted(times, np.array([self._start, self._end]) - TIE)
        length = duration_of(times)
        if first == last or (math.isfinite(self._end) and self._end > length + SLACK_SECONDS):
            raise VideoError(
                f"{self.name} is {length:.2f} s long, but the list has the part from "
                f"{self._start:g} to {self._end:g} s of it; correct the list, or give the whole "
                "video that the part is of"
            )
        self.offset = float(times[first])
        self.times: Times = times[first:last] - self.offset
        lost = self.whole.lost
        self.lost: Times = lost[(lost > self.offset) & (lost < self._end - TIE)] - self.offset

    def read(self, times: Times) -> Iterator[Image | Planes]:
        """Give the frame nearest to each of the ascending moments; see `Source.read`."""
        try:
            yield from self.whole.read(times + self.offset)
        except ShorterThanDeclaredError:
            self._choose()
            raise

    def close(self) -> None:
        """Do nothing: the video is the caller's."""
