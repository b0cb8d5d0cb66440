"""`Stream`: frames of a camera go in one by one, a prediction comes out whenever one is due."""

from __future__ import annotations

import math
import threading
import time as clocks
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import without_password
from r2p_edge.errors import LowFrameRateWarning, StreamWarning, UsageError, warn_caller
from r2p_edge.live.arguments import check_count, check_number
from r2p_edge.live.buffer import MANY_BREAKS, ClipBuffer, ClipWindow
from r2p_edge.live.frame import LiveFrame, decoded
from r2p_edge.live.smoothing import Decision
from r2p_edge.prediction import Live, Prediction, Timing, score_kind
from r2p_edge.video.arrays import frame_from_item

if TYPE_CHECKING:
    from r2p_edge.predictor import Predictor


class Stream:
    """The newest clip of one camera, and the predictions on it. Many may share a predictor.

    Ticks follow each other as the frames of the model's clips do, `spec.clip.tick` seconds apart,
    and each takes the frame nearest in time: any frame rate shows the motion that the model was
    trained on. A window is the newest clip of ticks; there is none before it is full. It is
    emptied where frames are missing for more than half its length, where time jumps back, and
    where the size of the frames changes. A `StreamWarning` says so if that happens again and
    again before a window is full.

    `push` does everything in one thread. Otherwise one thread adds frames, and another asks for
    answers: it gets the newest window, never one that is being written.

    Args:
        predictor: the model.
        stride: ticks from one prediction to the next; by default half a clip.
        every: the same in seconds, rounded to ticks.
        smoothing: weight of the newest scores in an exponential mean, above 0 to 1; 1 is none.
        majority: instead, let this many newest windows vote: scores are shares of the votes.
        hysteresis: a label stays until the score of another is higher by more than this.
        min_score: a window whose best score is lower has no label. The model always prefers one
            of its classes, also where a video shows none of them. Smoothing, majority and
            hysteresis begin anew after a gap and after a window without motion.
        motion: ask the model only where something moves: grey levels (0 to 255) by which a
            fourteenth of the picture's sides must change; 15 does well. By default always ask.
        color: channel order of the frames.
        name: name of the stream, for its predictions.
        clock: returns seconds of a monotonic clock.
        wall: returns seconds since 1970.

    Attributes:
        name, predictor: as given.
        buffer: the newest frames, and the windows that are due.

    Raises:
        SpecError: the model reads files by frame number, which a stream cannot provide.
        UsageError: an argument is out of its range, or is about classes and the model gives values.
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
        wall: Callable[[], float] = clocks.time,
    ) -> None:
        if stride is not None and every is not None:
            raise UsageError("stride and every exclude each other; choose one")
        if stride is not None:
            check_count("stride", stride)
        if every is not None:
            check_number("every", every, lambda x: 0 < x < math.inf, "a number of seconds above 0")
        if color not in ("RGB", "BGR"):
            raise UsageError(f"color is {color!r}; it must be 'RGB' or 'BGR'")
        self.name = name
        self._shown_name = without_password(name or "the stream")
        self.predictor, self._color = predictor, color
        self._clock, self._wall = clock, wall
        self._kind = score_kind(predictor.spec.output.kind)
        self._decision = Decision(
            smoothing, majority, hysteresis, min_score, classes=self._kind != "values"
        )
        self._deciding = threading.Lock()
        self._warned: set[type[Warning]] = set()
        self.buffer = ClipBuffer(
            predictor.spec, stride=stride, every=every, motion=motion, name=self._shown_name
        )

    def push(self, image: npt.NDArray[np.uint8], time: float | None = None) -> Prediction | None:
        """Add a frame and return the prediction if one is due now.

        Arguments and errors are those of `add` and `answer`.
        """
        self.add(image, time)
        return self.answer()

    def add(self, image: npt.NDArray[np.uint8], time: float | None = None) -> None:
        """Take in the next frame. Frames that no window will use cost next to nothing.

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
        frame = LiveFrame(time, now, image.shape[:2], decoded(image), self._color)
        for _ in self.buffer.add(frame, borrowed=True):
            pass

    def answer(self) -> Prediction | None:
        """Return the prediction on the newest window, None if none is due.

        Raises:
            ModelError: the model returns NaN.
            BackendError: the runtime failed.
        """
        window = self.buffer.take()
        if window is None:
            self.check_breaks()
            return None
        return self.predict_window(window)

    def predict_window(self, window: ClipWindow) -> Prediction:
        """Return the prediction on a window of the buffer; errors are those of `answer`."""
        self.check_rate(window)
        raw = None
        if window.pixels is not None:
            raw = self.predictor.scores(window.pixels[np.newaxis], timing=window.timing)[0]
        return self.decided(window, raw)

    def decided(self, window: ClipWindow, raw: npt.NDArray[np.float64] | None) -> Prediction:
        """Return the prediction on a window whose scores are known.

        Args:
            window: a window of the buffer, each in its turn.
            raw: float64 (classes,), as the predictor gives them; None where nothing moves.
        """
        predictor, spec = self.predictor, self.predictor.spec
        scores, best = np.zeros(len(spec.labels)), None
        if raw is not None:
            with self._deciding:
                scores, best = self._decision.decide(raw, window.gaps)
        else:  # what moves next is another event
            with self._deciding:
                self._decision.forget()
        newest = window.newest
        age = self._clock() - newest.captured
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
            timing=window.timing,
            kind=self._kind,
            live=Live(
                source=self.name,
                label=None if best is None else spec.labels[best],
                still=window.pixels is None,
                age_ms=age * 1e3,
                skipped=window.skipped,
                dropped=window.dropped,
                gaps=window.gaps,
                wall=self._wall() - age,
                _image=newest.image,
            ),
        )

    def check_breaks(self) -> None:
        """Warn, once, of a stream that breaks off again and again before a window is full."""
        if self.buffer.broken >= MANY_BREAKS and StreamWarning not in self._warned:
            self._warned.add(StreamWarning)
            warn_caller(
                f"{self._shown_name} gives no answer: its frames broke off "
                f"{self.buffer.broken} times before they filled the {self.buffer.length:.3g} "
                f"seconds of a clip. Frames may be at most {self.buffer.gap:.3g} s apart, of one "
                "size, and in the order of their times, which are in seconds",
                StreamWarning,
            )

    def check_rate(self, window: ClipWindow) -> None:
        """Warn, once, of a stream with fewer frames a second than the model looks at."""
        tick = self.predictor.spec.clip.tick
        slow = window.coverage < 1 and window.step > 1.01 * tick
        if slow and LowFrameRateWarning not in self._warned:
            self._warned.add(LowFrameRateWarning)
            warn_caller(
                f"{self._shown_name} has {1 / window.step:.3g} frames a second but the "
                f"model looks at {1 / tick:.3g}; frames are repeated and the answer may suffer",
                LowFrameRateWarning,
            )


def predict_windows(due: Sequence[tuple[Stream, ClipWindow]]) -> list[Prediction]:
    """Return the predictions on windows of streams over one model, in one call of it.

    Args:
        due: the streams, each with a window of its buffer.

    Raises:
        ModelError, BackendError: see `Stream.answer`.
    """
    asked = [window for _, window in due if window.pixels is not None]
    if len(asked) < 2:
        return [stream.predict_window(window) for stream, window in due]
    spent = Timing()
    pixels = np.stack([window.pixels for window in asked if window.pixels is not None])
    scores = iter(due[0][0].predictor.scores(pixels, timing=spent))
    found = []
    for stream, window in due:
        stream.check_rate(window)
        raw = None
        if window.pixels is not None:
            window.timing.add(spent)
            raw = next(scores)
        found.append(stream.decided(window, raw))
    return found
