"""The newest clip of a stream: which frame each tick takes, and the ring of their pixels."""

from __future__ import annotations

import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from r2p_edge.errors import SpecError
from r2p_edge.frame import Image, Planes
from r2p_edge.live.motion_gate import MotionGate
from r2p_edge.prediction import Timing
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.spec.model_spec import ModelSpec
from r2p_edge.video.sampling import SLACK, TIE, plan_clips, window_length


class Shot(NamedTuple):
    """One frame of a stream.

    Attributes:
        time: seconds in the source's own clock.
        captured: the same moment in seconds of the monotonic clock, as far as that is known.
        size: height and width in pixels.
        picture: gives the pixels, uint8 (height, width, 3), or the planes; called only if a window
            needs them.
        color: channel order of the pixels.
        joined: whether the source ran on without interruption since the frame before.
        dropped: frames that were dropped since the frame before, because reading was too slow.
    """

    time: float
    captured: float
    size: tuple[int, int]
    picture: Callable[[], Image | Planes]
    color: Literal["RGB", "BGR"] = "RGB"
    joined: bool = True
    dropped: int = 0

    def image(self) -> Image:
        """The pixels in RGB, uint8 (height, width, 3)."""
        picture = self.picture()
        if isinstance(picture, Planes):
            return picture.rgb()
        return picture if self.color == "RGB" else picture[:, :, ::-1]


class Window(NamedTuple):
    """A clip that is due for an answer.

    Attributes:
        pixels: uint8 (T, H, W, 3), a copy; None where nothing moves.
        span: seconds of its first and its last frame in the source's clock.
        coverage: share of its frames that are no repeats.
        step: shortest time from one of these to the next, in seconds.
        newest: its last frame.
        skipped, dropped, gaps: totals since the stream began; see `Live`.
        timing: what its frames took since the window before.
    """

    pixels: Image | None
    span: tuple[float, float]
    coverage: float
    step: float
    newest: Shot
    skipped: int
    dropped: int
    gaps: int
    timing: Timing


class Ticks:
    """Which frame each tick of a stream takes: the nearest, of two equally near the earlier.

    Args:
        tick: seconds from one tick to the next. The first is at the first frame.
        slack: a tick takes a frame that comes no more than so many seconds early at once.
        gap: the most seconds between two frames of one piece.
    """

    def __init__(self, tick: float, slack: float, gap: float) -> None:
        self._tick, self._slack, self._gap = tick, slack, gap
        self.reset()

    def reset(self) -> None:
        """The next frame is the first."""
        self._origin = self._last = math.nan
        self._number = 0

    def split(self, time: float) -> tuple[int, int] | None:
        """How many ticks take the frame before this one, and how many after them take this one.

        None where the two are not of one piece: too far apart, or in the wrong order.
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
        # As `nearest` does; here for a few ticks, where NumPy would take its time.
        here = count if last == time else sum(time - tick < tick - last - TIE for tick in ticks)
        return count - here, here


class ClipBuffer:
    """The newest frames of one stream, each preprocessed once, and which windows are due.

    Frames come in through one thread; windows may be taken by others.

    Args:
        stride: ticks from one window to the next; None for half a clip.
        every: the same in seconds, rounded to ticks.
        motion: grey levels by which a window must move; None to take all.

    Attributes:
        tick: seconds from one frame of the ring to the next.
        length: seconds of a window.
        gap: the most seconds between two frames of one piece.
        broken: how often in a row the frames were interrupted before a window was full.

    Raises:
        SpecError: the model's clips cannot be had from a stream.
        UsageError: `motion` is not positive.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        stride: int | None,
        every: float | None,
        motion: float | None,
    ) -> None:
        clip = spec.clip
        if clip.sampling == "index" or clip.order == "lexicographic":
            raise SpecError(
                f"{spec.name} counts a video's frames from its first to its last (clip.sampling "
                f"is {clip.sampling}, clip.order is {clip.order}), and a stream has no last; "
                "export a model for streams with --order temporal --sampling time"
            )
        # Offsets need not be even: then every frame of the training rate is a tick of the ring.
        length = window_length(clip)
        (plan,) = plan_clips(clip, np.array([0.0, (length - 1) / clip.fps]), 1)
        numbers = np.rint(plan.times * clip.fps).astype(np.int64)
        unit = int(np.gcd.reduce(np.diff(numbers))) if clip.frames > 1 else clip.interval
        self.tick = unit / clip.fps
        self._picks = numbers // unit
        self._length = int(self._picks[-1]) + 1
        ticks = max(clip.frames // 2, 1) if stride is None else stride
        ticks = ticks if every is None else max(round(every / clip.tick), 1)
        self._stride = ticks * clip.interval // unit
        self.length = self._length * self.tick
        self.gap = clip.frames * clip.tick / 2
        self._ticks = Ticks(self.tick, SLACK / clip.fps, self.gap)

        self._preprocessor = Preprocessor(spec)
        self._gate = None if motion is None else MotionGate(motion, self._length)
        # One slot more than a window has, so that writing the next frame changes no window.
        self._slots = np.empty((self._length + 1, *self._preprocessor.frame_shape), np.uint8)
        self._head = 0  # the slot that is written next
        self._times: deque[float] = deque(maxlen=self._length)  # of the frames in the ring
        self._shown: Shot | None = None  # the newest of them
        self._newest: Shot | None = None  # the newest frame of all
        # Where its pixels are: still to be made, in the next slot, or in the one before.
        self._pixels: Literal["frame", "slot", "ring"] = "frame"
        self._lock = threading.Lock()
        self._timing = Timing()
        self._skipped = self._dropped = self._gaps = self.broken = 0
        self.was_full = False
        self._restart()

    def _restart(self) -> None:
        self._ticks.reset()
        self._times.clear()
        if self._gate is not None:
            self._gate.clear()
        self._newest = None
        self._tick = -1  # number of the newest tick
        self._end = self._length - 1  # the tick with which the next window ends

    def add(self, shot: Shot, *, borrowed: bool = False) -> Iterator[None]:
        """Takes a frame in. A generator that pauses after each tick, when a window may be due.

        Args:
            borrowed: the image may change once this ends, so its pixels are made now.
        """
        self._dropped += shot.dropped
        split = None
        if self._newest is not None and shot.joined and shot.size == self._newest.size:
            split = self._ticks.split(shot.time)
        if split is None:
            self._empty()
            split = self._ticks.split(shot.time)
            assert split is not None
        elif self._newest is not None and shot.time == self._newest.time:
            return  # the same frame again
        before, here = split
        for _ in range(before):
            self._settle()
            yield
        self._newest, self._pixels = shot, "frame"
        for _ in range(here):
            self._settle()
            yield
        if borrowed and self._pixels == "frame" and self._wanted():
            self._make()

    def _empty(self) -> None:
        with self._lock:
            if self._newest is not None:
                self._gaps += 1
                self.broken = 0 if len(self._times) == self._length else self.broken + 1
            if self.due:
                self._skipped += 1 + (self._tick - self._end) // self._stride
            self._restart()

    def _wanted(self) -> bool:
        """Whether a window needs the next tick; where windows are far apart, most are not."""
        return self._tick + 1 > self._end - self._length

    def _make(self) -> None:
        assert self._newest is not None
        with self._timing.stage("preprocess"):
            picture = self._newest.picture()
            self._preprocessor.frame(picture, self._slots[self._head], self._newest.color)
        self._pixels = "slot"

    def _settle(self) -> None:
        """The next tick takes the newest frame."""
        assert self._newest is not None
        if not self._wanted():
            self._tick += 1
            return
        if self._pixels == "frame":
            self._make()
        elif self._pixels == "ring":
            self._slots[self._head] = self._slots[self._head - 1]
        cells = None if self._gate is None else self._gate.cells(self._slots[self._head])
        with self._lock:
            self._tick += 1
            self._head = (self._head + 1) % len(self._slots)
            self._times.append(self._newest.time)
            self._shown = self._newest
            if self._gate is not None and cells is not None:
                self._gate.add(cells)
            self._pixels = "ring"
            self.was_full = self.was_full or self.due

    @property
    def due(self) -> bool:
        """Whether a window waits for an answer."""
        return self._tick >= self._end and len(self._times) == self._length

    def take(self) -> Window | None:
        """The newest window if one is due; those that were due before it count as skipped."""
        with self._lock:
            if not self.due:
                return None
            late = (self._tick - self._end) // self._stride
            self._skipped += late
            self._end += (late + 1) * self._stride
            moving = self._gate is None or self._gate.moving()
            assert self._shown is not None
            times = sorted({self._times[pick] for pick in self._picks})
            slots = (self._head + 1 + self._picks) % len(self._slots)
            timing, self._timing = self._timing, Timing()
            return Window(
                pixels=np.take(self._slots, slots, axis=0) if moving else None,
                span=(times[0], times[-1]),
                coverage=len(times) / len(self._picks),
                step=min((b - a for a, b in itertools.pairwise(times)), default=math.inf),
                newest=self._shown,
                skipped=self._skipped,
                dropped=self._dropped,
                gaps=self._gaps,
                timing=timing,
            )
