"""The ticks of a stream whose features are kept: each of them is taken in its turn."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from r2p_edge.live.buffer import ClipBuffer, ClipWindow
from r2p_edge.live.frame import LiveFrame
from r2p_edge.live.ticks import tick_grid
from r2p_edge.prediction import Timing
from r2p_edge.spec import ModelSpec

_PATIENCE = 2  # windows; a source that stood still sends the frames of about two seconds at once


class FrameBuffer(ClipBuffer):
    """The newest frames of one stream, of which every one is taken, and the windows that are due.

    A consumer that is late takes them one after the other, without the predictions that newer ones
    have made needless. If it is late by more than two windows, frames are lost, and it begins
    anew: that is an interruption like any other.

    Args:
        frame: uint8 (H, W, 3); gets the pixels of each frame that is taken.
        wait: ticks from a window's last frame to the one with which it is due. The first window
            of a run does not wait, and has its pixels.
        stride, every, motion, name: see `ClipBuffer`.

    Attributes:
        patience: seconds by which a consumer may be late.
        overruns: number of times that frames were lost.
    """

    def __init__(
        self,
        spec: ModelSpec,
        frame: npt.NDArray[np.uint8],
        wait: int,
        *,
        stride: int | None,
        every: float | None,
        motion: float | None,
        name: str = "the stream",
    ) -> None:
        self._frame, self._wait = frame, wait
        self.overruns, self._run = 0, -1
        self._busy = False
        self._latest = _PATIENCE * tick_grid(spec).length
        # Whole pictures by their ticks: of windows that may still be due, and of no other tick.
        self._ends: deque[tuple[int, LiveFrame]] = deque()
        more = self._latest + wait
        super().__init__(spec, stride=stride, every=every, motion=motion, name=name, more=more)
        self.patience = self._latest * self.tick

    def _empty(self) -> None:
        super()._empty()
        self._run += 1
        self._taken = -1  # the newest tick that was taken
        self._begun = False  # a window of this run was
        self._ends.clear()

    def _wanted(self) -> bool:
        return True

    def _show(self, frame: LiveFrame) -> None:
        if (self._tick - self._end) % self._stride == 0:
            self._ends.append((self._tick, frame))
            # Of windows that are due together the newest alone is answered.
            while self._ends[0][0] <= self._tick - self._wait - self._stride:
                self._ends.popleft()

    @property
    def pending(self) -> bool:
        return self._tick > self._taken

    @property
    def due(self) -> bool:
        """True while a tick waits, and nobody is at work on the one before."""
        return self.pending and not self._busy

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Let the next tick wait for the work on the one that was taken; begin anew if it fails."""
        try:
            yield
        except BaseException:
            with self._lock:
                self._skip_all()
                self._empty()
            raise
        finally:
            self._busy = False

    def take(self) -> ClipWindow | None:
        """Return the next tick with its window, if one is due; to be followed by `work`."""
        with self._lock:
            if not self.due:
                return None
            late = self._tick - self._taken - 1
            if late >= self._latest:
                self.overruns += 1
                self._gaps += 1
                self._skip_all()
                self._empty()
                return None
            self._busy = True
            self._taken += 1
            slot = (self._head - 1 - late) % len(self._slots)
            np.copyto(self._frame, self._slots[slot])
            end = self._taken - (self._wait if self._begun else 0)
            if end != self._end:
                return self._frame_alone(late)
            self._end += self._stride
            if end + late >= self._end:  # there is a newer one
                self._skipped += 1
                return self._frame_alone(late)
            while self._ends[0][0] < end:
                self._ends.popleft()
            _, newest = self._ends.popleft()
            lag = (self._taken - end) * self.tick
            window = self._window(end, newest, stored=self._begun, lag=lag, run=self._run)
            self._begun = True
            return window

    def _frame_alone(self, late: int) -> ClipWindow:
        """Return a tick without a window."""
        time = self._times[-1 - late]
        assert self._newest is not None
        return ClipWindow(
            pixels=None,
            span=(time, time),
            coverage=1.0,
            step=math.inf,
            newest=self._newest,
            skipped=self._skipped,
            dropped=self._dropped,
            gaps=self._gaps,
            timing=Timing(),
            run=self._run,
            asked=False,
        )
