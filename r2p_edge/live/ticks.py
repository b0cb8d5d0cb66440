"""The ticks of a stream: how a model's clip lies on them, and which frame each of them takes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import SpecError
from r2p_edge.spec import ModelSpec
from r2p_edge.video.sampling import TIE, plan_clips, window_length


class TickGrid(NamedTuple):
    """The evenly spaced moments that a stream samples, and the clip's frames among them.

    Attributes:
        tick: seconds from one tick to the next.
        picks: int64 (T,), the tick of each frame of the clip; the first is 0. Of optical flow it
            is (T + 1,), the ticks of the pictures.
        scale: ticks per sampling period of the model (`spec.clip.tick` seconds).
    """

    tick: float
    picks: npt.NDArray[np.int64]
    scale: int

    @property
    def length(self) -> int:
        """Ticks in a window."""
        return int(self.picks[-1]) + 1


def tick_grid(spec: ModelSpec) -> TickGrid:
    """Return the coarsest grid of ticks that has every frame of the model's clip.

    Raises:
        SpecError: the model reads files by frame number, which a stream cannot provide.
    """
    clip = spec.pictures
    if clip.sampling == "index" or clip.order == "lexicographic":
        raise SpecError(
            f"{spec.name} counts the frames of a video from its first to its last (clip.sampling "
            f"is {clip.sampling}, clip.order is {clip.order}), but a stream has no last frame; "
            "export a model for streams with --order temporal --sampling time"
        )
    last = (window_length(clip) - 1) / clip.fps
    (plan,) = plan_clips(clip, np.array([0.0, last]), 1)
    numbers = np.rint(plan.times * clip.fps).astype(np.int64)
    # Offsets need not be even: then a tick is as short as their greatest common divisor.
    unit = int(np.gcd.reduce(np.diff(numbers))) if clip.frames > 1 else clip.interval
    return TickGrid(unit / clip.fps, numbers // unit, clip.interval // unit)


class Ticks:
    """The assignment of frames to ticks: each takes the nearest, the earlier of two as near.

    Args:
        tick: seconds from one tick to the next. The first is at the first frame.
        slack: a tick takes a frame that comes at most this many seconds early at once.
        gap: longest time in seconds between two frames that is not an interruption.
    """

    def __init__(self, tick: float, slack: float, gap: float) -> None:
        self._tick, self._slack, self._gap = tick, slack, gap
        self.reset()

    def reset(self) -> None:
        """Begin anew: the next frame is the first."""
        self._origin = self._last = math.nan
        self._number = 0

    def split(self, time: float) -> tuple[int, int] | None:
        """Count the ticks that take the frame before this one, and after them those of this one.

        Returns None at an interruption: the two are too far apart, or in the wrong order.
        """
        if math.isnan(self._last):
            self._origin = self._last = time
        elif not 0 <= time - self._last <= self._gap:
            return None
        last, self._last = self._last, time
        count = math.floor((time + self._slack - self._origin) / self._tick) + 1 - self._number
        if count <= 0:
            return 0, 0
        numbers = range(self._number, self._number + count)
        self._number += count
        ticks = [self._origin + number * self._tick for number in numbers]
        # The rule of `nearest`, in plain Python: faster than NumPy for a few ticks.
        here = count if last == time else sum(time - tick < tick - last - TIE for tick in ticks)
        return count - here, here
