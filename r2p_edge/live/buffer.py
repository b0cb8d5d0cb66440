"""The newest clip of a stream: a ring of preprocessed frames, and the windows that are due."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import threading
from collections import deque
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from r2p_edge.frame import Image
from r2p_edge.live.frame import LiveFrame
from r2p_edge.live.motion_gate import MotionGate
from r2p_edge.live.ticks import Ticks, tick_grid
from r2p_edge.prediction import Timing
from r2p_edge.preprocess.flow import FlowPreprocessor, Grey
from r2p_edge.preprocess.frame_maker import FrameMaker
from r2p_edge.spec import ModelSpec
from r2p_edge.video.sampling import SLACK

MANY_BREAKS = 10
"""Interruptions in a row, without a full window between them, that are no accident any more."""

_log = logging.getLogger(__name__)


class ClipWindow(NamedTuple):
    """A clip of a stream that is due for a prediction.

    Attributes:
        pixels: uint8 (T, H, W, 3), a copy, or of optical flow (T, H, W, 2), uint8 or float32, or of
            two streams (T,), records of both; None where nothing moves, or features answer.
        span: seconds of its first and its last frame in the source's clock.
        coverage: share of its frames that are not repeats.
        step: shortest time between two successive frames that are not repeats, in seconds.
        newest: its last frame.
        skipped, dropped, gaps: totals since the stream began; see `Live`.
        timing: milliseconds that the stream's frames took since the window before.
        still: nothing moves in it.
        lag: seconds from its last frame to the one with which it became due.
        run: number of times that the window was emptied.
        asked: False where a frame's features are due, and no prediction.
    """

    pixels: Image | None
    span: tuple[float, float]
    coverage: float
    step: float
    newest: LiveFrame
    skipped: int
    dropped: int
    gaps: int
    timing: Timing
    still: bool = False
    lag: float = 0.0
    run: int = 0
    asked: bool = True


class ClipBuffer:
    """The newest frames of one stream, each preprocessed once.

    A model of optical flow has a window of one tick more: a slot of the ring has the flow from the
    picture of the tick before, computed once, and that of a window's first tick is not shown.

    One thread adds frames; any thread may take windows.

    Args:
        stride: sampling periods from one window to the next; None for half a clip.
        every: the same in seconds, rounded to sampling periods.
        motion: grey levels by which a window must move; None to take all windows.
        name: name of the stream, for the log.
        more: ticks to keep beside those of a window.

    Attributes:
        tick: seconds from one frame of the ring to the next.
        length: seconds of a window.
        every: seconds from one window to the next.
        gap: longest time in seconds between two frames that is not an interruption.
        broken: number of interruptions in a row before a window was full.
        was_full: True once a window was due.

    Raises:
        SpecError: the model reads files by frame number, which a stream cannot provide.
        UsageError: `motion` is not above 0.
        MissingDependencyError: see `FlowPreprocessor`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        stride: int | None,
        every: float | None,
        motion: float | None,
        name: str = "the stream",
        more: int = 0,
    ) -> None:
        clip, grid = spec.clip, tick_grid(spec)
        self.tick, self._picks, self._length = grid.tick, grid.picks, grid.length
        periods = max(clip.frames // 2, 1) if stride is None else stride
        periods = periods if every is None else max(round(every / clip.tick), 1)
        self._maker = FrameMaker(spec)
        self._pairs = self._maker.pairs  # pictures that a window has beyond its frames
        self._stride = periods * grid.scale
        self.every = self._stride * self.tick
        self.length = self._length * self.tick
        self.gap = clip.gap
        self._ticks = Ticks(self.tick, SLACK / clip.fps, self.gap)
        self._name = name

        self._flow = self._maker.flow
        self._before: Grey | None = None  # picture of the tick before, which flow goes from
        self._picture: Grey | None = None  # picture of the newest frame
        self._gate = None if motion is None else MotionGate(motion, self._length, more)
        kept = self._length + more
        # One slot more than that, so that writing the next frame changes no window.
        self._slots = np.empty((kept + 1, *self._maker.frame_shape), self._maker.frame_dtype)
        self._colours = self._maker.colours_of(self._slots)
        self._flows = self._maker.flow_of(self._slots)
        self._head = 0  # the slot that is written next
        self._times: deque[float] = deque(maxlen=kept)  # of the frames in the ring
        self._shown: LiveFrame | None = None  # the newest of them
        self._newest: LiveFrame | None = None  # the newest frame of all
        # Where its pixels are: still to be made, in the next slot, or in the one before.
        self._pixels: Literal["frame", "slot", "ring"] = "frame"
        self._lock = threading.Lock()
        # A window's timing belongs to whoever took it, so the writer measures into one of its own.
        self._spent, self._timing = Timing(), Timing()
        self._skipped = self._dropped = self._gaps = self.broken = 0
        self.was_full = False
        self._restart()

    def _restart(self) -> None:
        self._ticks.reset()
        self._newest = None
        self._empty()

    def _empty(self) -> None:
        """Begin a new window with the next tick."""
        self._times.clear()
        self._before = None
        if self._gate is not None:
            self._gate.clear()
        self._tick = -1  # number of the newest tick
        self._end = self._length - 1  # the tick with which the next window ends

    def add(self, frame: LiveFrame, *, borrowed: bool = False) -> Iterator[None]:
        """Take a frame in; pause after each tick, when a window may be due.

        Args:
            borrowed: the image may change once this ends, so its pixels are made now.
        """
        self._dropped += frame.dropped
        self._spent.decode += frame.decode_ms
        self._spent.total += frame.decode_ms
        newest, split = self._newest, None
        if newest is not None and frame.joined and frame.size == newest.size:
            split = self._ticks.split(frame.time)
        if split is None:
            self._interrupt(frame)
            split = self._ticks.split(frame.time)
            assert split is not None
        elif newest is not None and frame.time == newest.time:
            return  # the same frame again
        before, here = split
        for _ in range(before):
            self._settle()
            yield
        self._newest, self._pixels = frame, "frame"
        for _ in range(here):
            self._settle()
            yield
        if borrowed and self._pixels == "frame" and self._wanted():
            self._make()

    def reset(self) -> None:
        """Empty the window: the next frame is the first of another recording.

        From the thread that adds frames.
        """
        with self._lock:
            if self._newest is not None:
                self._gaps += 1
            self._skip_all()
            self._restart()

    def _interrupt(self, frame: LiveFrame) -> None:
        """Empty the window before a frame that does not continue it."""
        newest = self._newest
        if newest is not None:
            self.broken = 0 if self._full else self.broken + 1
        self.reset()
        if newest is not None and self.broken <= MANY_BREAKS:
            _log.info("%s: the window was emptied: %s", self._name, _reason(newest, frame))

    def _skip_all(self) -> None:
        """Count the windows that nobody took yet as skipped."""
        if self._full and self._tick >= self._end:
            self._skipped += 1 + (self._tick - self._end) // self._stride

    def _wanted(self) -> bool:
        """Return True if a window needs the next tick; few do where windows are far apart."""
        return self._tick + 1 > self._end - self._length

    def _make(self) -> None:
        """Preprocess the newest frame into the next slot; of flow, make its picture."""
        assert self._newest is not None
        with self._spent.stage("total"):
            with self._spent.stage("decode"):
                picture = self._newest.picture()
            with self._spent.stage("preprocess"):
                out = None if self._colours is None else self._colours[self._head]
                self._picture = self._maker.make(picture, self._newest.color, out).grey
        self._pixels = "slot"

    def _fill(self, flow: FlowPreprocessor) -> None:
        """Write the flow to the newest picture into the next slot."""
        assert self._picture is not None
        assert self._flows is not None
        if self._before is not None:  # else no window shows this slot
            with self._spent.stage("total"), self._spent.stage("preprocess"):
                flow.frame(self._before, self._picture, self._flows[self._head])
        self._before = self._picture

    def _settle(self) -> None:
        """Give the next tick the newest frame."""
        assert self._newest is not None
        if not self._wanted():
            self._tick += 1
            self._before = None
            return
        if self._pixels == "frame":
            self._make()
        elif self._pixels == "ring" and self._colours is not None:
            self._colours[self._head] = self._colours[self._head - 1]
        if self._flow is not None:
            self._fill(self._flow)
        cells = None
        if self._gate is not None:
            # Its threshold is in grey levels, which pictures have and flow has not.
            seen = self._slots[self._head] if self._picture is None else self._picture
            with self._spent.stage("total"):
                cells = self._gate.cells(seen)
        with self._lock:
            self._tick += 1
            self._head = (self._head + 1) % len(self._slots)
            self._times.append(self._newest.time)
            self._show(self._newest)
            if self._gate is not None and cells is not None:
                self._gate.add(cells)
            self._pixels = "ring"
            self._timing.add(self._spent)
            self._spent = Timing()
            self.was_full = self.was_full or self._full

    def _show(self, frame: LiveFrame) -> None:
        """Keep the whole frame of the newest tick, as far as a window will show it."""
        self._shown = frame

    @property
    def _full(self) -> bool:
        return len(self._times) >= self._length

    @property
    def due(self) -> bool:
        """True while a window waits for a prediction."""
        return self._tick >= self._end and self._full

    @property
    def pending(self) -> bool:
        """True while there is more to take, now or once what was taken is done."""
        return self.due

    def work(self) -> contextlib.AbstractContextManager[None]:
        """Return the context of the work on a window that was taken."""
        return contextlib.nullcontext()

    def take(self) -> ClipWindow | None:
        """Return the newest window if one is due; older ones that were due count as skipped."""
        with self._lock:
            if not self.due:
                return None
            late = (self._tick - self._end) // self._stride
            self._skipped += late
            self._end += (late + 1) * self._stride
            assert self._shown is not None
            return self._window(self._tick, self._shown)

    def _window(
        self, end: int, newest: LiveFrame, *, stored: bool = False, lag: float = 0.0, run: int = 0
    ) -> ClipWindow:
        """Return the window that ends with a tick; the caller has the lock.

        Args:
            end: number of the tick.
            newest: its frame.
            stored: leave out its pixels.
            lag, run: see `ClipWindow`.
        """
        back = self._tick - end
        still = self._gate is not None and not self._gate.moving(back)
        first = len(self._times) - self._length - back
        times = sorted({self._times[first + pick] for pick in self._picks})
        pixels = None
        if not (still or stored):
            oldest = self._head - self._length - back
            picks = self._picks[self._pairs :]  # the first slot of flow comes from outside
            pixels = np.take(self._slots, (oldest + picks) % len(self._slots), axis=0)
        timing, self._timing = self._timing, Timing()
        return ClipWindow(
            pixels=pixels,
            span=(times[0], times[-1]),
            coverage=(len(times) - self._pairs) / (len(self._picks) - self._pairs),
            step=min((b - a for a, b in itertools.pairwise(times)), default=math.inf),
            newest=newest,
            skipped=self._skipped,
            dropped=self._dropped,
            gaps=self._gaps,
            timing=timing,
            still=still,
            lag=lag,
            run=run,
        )


def _reason(before: LiveFrame, after: LiveFrame) -> str:
    if not after.joined:
        return "the source was interrupted"
    if after.size != before.size:
        (old_height, old_width), (height, width) = before.size, after.size
        return f"frames changed from {old_width}x{old_height} to {width}x{height} pixels"
    if after.time < before.time:
        return f"the time of the frames went back by {before.time - after.time:.3g} s"
    return f"no frame came for {after.time - before.time:.3g} s"
