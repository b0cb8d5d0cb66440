"""`Stream`: frames of a camera go in one by one, an answer comes out whenever one is due."""

from __future__ import annotations

import math
import threading
import time as clocks
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import LowFrameRateWarning, StreamWarning, UsageError
from r2p_edge.live.buffer import ClipBuffer, Shot, Window
from r2p_edge.live.smoothing import Decision
from r2p_edge.prediction import Live, Prediction
from r2p_edge.video.source import frame_from_item

if TYPE_CHECKING:
    from r2p_edge.predictor import Predictor


_BREAKS = 10
"""Interruptions in a row, with no window between them, that are no accident any more."""


class Stream:
    """The newest clip of one camera, and the answers on it. Many may share a predictor.

    Ticks follow each other as the frames of the model's clips do, `spec.clip.tick` seconds apart,
    and each takes the frame nearest in time: any frame rate shows the motion that the model was
    trained on. A window is the newest clip of ticks; there is none before it is full. It is
    emptied where frames are missing for more than half its length, where time jumps back, and
    where the pictures' size changes; a `StreamWarning` tells where that happens every time before
    it is full.

    `push` does everything in one thread. Else one thread adds frames, and another asks for
    answers: it gets the newest window, never one that is being written.

    Args:
        predictor: the model.
        stride: ticks from one answer to the next; by default half a clip.
        every: the same in seconds, rounded to ticks.
        smoothing: weight of the newest scores in an exponential mean, above 0 to 1; 1 is none.
        majority: instead, let this many newest windows vote: scores are shares of the votes.
        hysteresis: the label stays until another's score is higher by more than this.
        min_score: below it there is no label; the model itself always has an answer, also to what
            is none of its classes. These four begin anew after a gap and after stillness.
        motion: ask the model only where something moves: grey levels (0 to 255) by which a
            fourteenth of the picture's sides must change; 15 does well. By default always.
        color: channel order of the frames.
        name: of the stream, for its answers.
        clock: seconds of a monotonic clock.

    Raises:
        SpecError: the model reads files by frame number, which a stream cannot give.
        UsageError: an argument is out of its range.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        stride: int | None = None,
        every: float | None = None,
        smoothing: float | None = None,
        majority: int | None = None,
        hysteresis: float = 0.0,
        min_score: float = 0.0,
        motion: float | None = None,
        color: Literal["RGB", "BGR"] = "RGB",
        name: str | None = None,
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        if stride is not None and every is not None:
            raise UsageError("stride and every exclude each other; choose one")
        if stride is not None and stride < 1:
            raise UsageError(f"stride is {stride}; it must be a number of ticks from 1 on")
        if every is not None and not 0 < every < math.inf:
            raise UsageError(f"every is {every}; it must be a number of seconds above 0")
        if color not in ("RGB", "BGR"):
            raise UsageError(f"color is {color!r}; it must be 'RGB' or 'BGR'")
        self.name = name
        self._predictor, self._clock, self._color = predictor, clock, color
        self._decision = Decision(smoothing, majority, hysteresis, min_score)
        self._deciding = threading.Lock()
        self._warned: set[type[Warning]] = set()
        self.buffer = ClipBuffer(predictor.spec, stride=stride, every=every, motion=motion)

    def push(self, image: npt.NDArray[np.uint8], time: float | None = None) -> Prediction | None:
        """Adds a frame; the answer if one is due now. Arguments and errors are those of both."""
        self.add(image, time)
        return self.answer()

    def add(self, image: npt.NDArray[np.uint8], time: float | None = None) -> None:
        """Takes in the next frame. Cheap; frames that no window will use cost next to nothing.

        Args:
            image: uint8 (H, W, 3); may be overwritten once this returns.
            time: when it was captured, in seconds of any clock; by default now.

        Raises:
            VideoError: it is not such an array, or its sides cannot be resized.
            UsageError: the time is not finite.
        """
        now = self._clock()
        time = now if time is None else time
        if not math.isfinite(time):
            raise UsageError(f"the time of a frame is {time}; it must be a number of seconds")
        image = frame_from_item(image)
        shot = Shot(time, now, image.shape[:2], lambda: image, self._color)
        for _ in self.buffer.add(shot, borrowed=True):
            pass

    def answer(self) -> Prediction | None:
        """The answer on the newest window, if one is due.

        Raises:
            ModelError: the model answers NaN.
            BackendError: the runtime failed.
        """
        window = self.buffer.take()
        if window is None:
            self.check_breaks()
            return None
        return self.judge(window)

    def judge(self, window: Window) -> Prediction:
        """The answer on a window of the buffer's; errors are those of `answer`."""
        predictor, spec, timing = self._predictor, self._predictor.spec, window.timing
        self._check_rate(window)
        scores, best = np.zeros(len(spec.labels)), None
        if window.pixels is not None:
            raw = predictor.scores(window.pixels[np.newaxis], timing=timing)[0]
            with self._deciding:
                scores, best = self._decision.decide(raw, window.gaps)
        else:  # what moves next is another event
            with self._deciding:
                self._decision.forget()
        newest = window.newest
        return Prediction(
            labels=spec.labels,
            scores=scores.astype(np.float32),
            clips=1,
            span=window.span,
            coverage=window.coverage,
            truncated=False,
            runtime=predictor.runtime,
            device=predictor.device,
            precision=predictor.precision,
            timing=timing,
            live=Live(
                source=self.name,
                label=None if best is None else spec.labels[best],
                still=window.pixels is None,
                age_ms=(self._clock() - newest.captured) * 1e3,
                skipped=window.skipped,
                dropped=window.dropped,
                gaps=window.gaps,
                _image=newest.image,
            ),
        )

    def check_breaks(self) -> None:
        """Warns, once, of a stream that breaks off again and again before a window is full."""
        if self.buffer.broken >= _BREAKS and StreamWarning not in self._warned:
            self._warned.add(StreamWarning)
            warnings.warn(
                f"{self.name or 'the stream'} gives no answer: its frames broke off "
                f"{self.buffer.broken} times before they filled the {self.buffer.length:.3g} "
                f"seconds of a clip. Frames may be at most {self.buffer.gap:.3g} s apart, of one "
                "size, and in the order of their times, which are in seconds",
                StreamWarning,
                stacklevel=3,
            )

    def _check_rate(self, window: Window) -> None:
        tick = self._predictor.spec.clip.tick
        slow = window.coverage < 1 and window.step > 1.01 * tick
        if slow and LowFrameRateWarning not in self._warned:
            self._warned.add(LowFrameRateWarning)
            warnings.warn(
                f"{self.name or 'the stream'} has {1 / window.step:.3g} frames a second but the "
                f"model looks at {1 / tick:.3g}; frames are repeated and the answer may suffer",
                LowFrameRateWarning,
                stacklevel=3,
            )
