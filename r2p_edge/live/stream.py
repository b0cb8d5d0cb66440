"""`Stream`: frames of a camera go in one by one, a prediction comes out whenever one is due."""

from __future__ import annotations

import contextlib
import math
import threading
import time as clocks
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import without_password
from r2p_edge.errors import LowFrameRateWarning, StreamWarning, UsageError, warn_caller
from r2p_edge.live.arguments import check_count, check_number
from r2p_edge.live.buffer import MANY_BREAKS, ClipBuffer, ClipWindow
from r2p_edge.live.frame import LiveFrame, decoded
from r2p_edge.live.frame_buffer import FrameBuffer
from r2p_edge.live.smoothing import Decision
from r2p_edge.live.ticks import tick_grid
from r2p_edge.per_frame.state import BorderKind, FrameState, scores_of_states
from r2p_edge.prediction import Live, Prediction, StreamScores, Timing, score_kind
from r2p_edge.scores import require_scores
from r2p_edge.spec import TwoStreamSpec
from r2p_edge.video.arrays import frame_from_item

if TYPE_CHECKING:
    from r2p_edge.predictor import Predictor

_Answer = tuple[npt.NDArray[np.float64], StreamScores]
_OF_ONE_MODEL: StreamScores = {}


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
        reuse: "features" keeps what the model's first layers make of each frame, so that an answer
            at each tick costs a fraction; the model must have been exported with its per-frame
            form. The first answer after an interruption is the model's on the clip, and the others
            are nearly it (`Live.exact`). By default each window is answered by itself.
        border: with `reuse`, "flush" answers at once, "wait" for the frames after a window, which
            takes less work (`Live.lag`); by default "flush".
        color: channel order of the frames.
        name: name of the stream, for its predictions.
        clock: returns seconds of a monotonic clock.
        wall: returns seconds since 1970.

    Attributes:
        name, predictor: as given.
        buffer: the newest frames, and the windows that are due.

    Raises:
        SpecError: the model reads files by frame number, which a stream cannot provide.
        ModelError: the model's per-frame form is missing, or that of another export.
        BackendError: the runtime cannot run it.
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
        reuse: Literal["features"] | None = None,
        border: BorderKind | None = None,
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
        require_scores(predictor.spec, predictor.spec.name)
        self._kind = score_kind(predictor.spec.output.kind)
        self._decision = Decision(
            smoothing, majority, hysteresis, min_score, classes=self._kind != "values"
        )
        self._deciding = threading.Lock()
        self._warned: set[Literal["rate", "breaks", "overruns"]] = set()
        self._run, self._spent = 0, Timing()
        self._features: FrameState | None = None
        self.buffer: ClipBuffer | FrameBuffer
        if reuse is None:
            if border is not None:
                raise UsageError(
                    f"border is {border!r}, and says how features are kept; add reuse='features' "
                    "(--reuse features), or leave it out"
                )
            self.buffer = ClipBuffer(
                predictor.spec, stride=stride, every=every, motion=motion, name=self._shown_name
            )
            return
        if reuse != "features":
            raise UsageError(f"reuse is {reuse!r}; it must be 'features'")
        tick_grid(predictor.spec)  # what no stream can show is said first
        self._features = FrameState(predictor.per_frame, border)
        self.buffer = FrameBuffer(
            predictor.spec,
            self._features.frame,
            self._features.wait,
            stride=stride,
            every=every,
            motion=motion,
            name=self._shown_name,
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
        while (window := self.buffer.take()) is not None:
            if answers := predict_windows([(self, window)]):
                return answers[0]
        self.check_health()
        return None

    def reset(self) -> None:
        """Forget the frames: the next one is the first of another recording.

        From the thread that adds them. It counts as an interruption (`Live.gaps`).
        """
        self.buffer.reset()

    def advance(self, window: ClipWindow) -> FrameState | None:
        """Return the features that answer a window of the buffer, with the frame that it came with.

        None where its pixels do, where nothing moves, and where no answer is due.

        Raises:
            BackendError: see `answer`.
        """
        if self._features is None:
            return None
        if window.run != self._run:
            self._features.clear()
            self._run = window.run
        with self._spent.stage("total"), self._spent.stage("inference"):
            self._features.step()
        if not window.asked:
            return None
        window.timing.add(self._spent)
        self._spent = Timing()
        return None if window.still or window.pixels is not None else self._features

    def decided(
        self,
        window: ClipWindow,
        raw: npt.NDArray[np.float64] | None,
        own: StreamScores = _OF_ONE_MODEL,
    ) -> Prediction:
        """Return the prediction on a window whose scores are known.

        Args:
            window: a window of the buffer, each in its turn.
            raw: float64 (classes,), as the predictor gives them; None where nothing moves.
            own: scores of each of two streams, (1, classes).
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
        answer = Prediction(
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
                still=window.still,
                age_ms=age * 1e3,
                skipped=window.skipped,
                dropped=window.dropped,
                gaps=window.gaps,
                wall=self._wall() - age,
                _image=newest.image,
                exact=window.still or window.pixels is not None,
                lag=window.lag,
            ),
        )
        return predictor.beside(answer, own) if own else answer

    def check_health(self) -> None:
        """Warn, once, of a stream that breaks off again and again, and of a model too slow for it.

        It breaks off before a window is full, or the model has not time for each of its frames.
        """
        kept = self.buffer if isinstance(self.buffer, FrameBuffer) else None
        if kept is not None and kept.overruns and "overruns" not in self._warned:
            self._warned.add("overruns")
            warn_caller(
                f"{self._shown_name}: the model was more than {kept.patience:.3g} s late, so "
                "frames were lost and the window was emptied; reuse needs time for each frame, so "
                "take a smaller model, or leave out reuse",
                StreamWarning,
            )
        if self.buffer.broken >= MANY_BREAKS and "breaks" not in self._warned:
            self._warned.add("breaks")
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
        if slow and "rate" not in self._warned:
            self._warned.add("rate")
            warn_caller(
                f"{self._shown_name} has {1 / window.step:.3g} frames a second but the "
                f"model looks at {1 / tick:.3g}; frames are repeated and the answer may suffer",
                LowFrameRateWarning,
            )


def predict_windows(due: Sequence[tuple[Stream, ClipWindow]]) -> list[Prediction]:
    """Return the predictions on windows of streams over one model, in one call of it.

    Those that pixels answer are one call, and those that features answer are another.

    Args:
        due: the streams, each with a window of its buffer.

    Returns:
        A prediction for each window that asks for one, in their order.

    Raises:
        ModelError, BackendError: see `Stream.answer`.
    """
    with contextlib.ExitStack() as at_work:
        for stream, _ in due:
            at_work.enter_context(stream.buffer.work())
        states = [stream.advance(window) for stream, window in due]
        asked = [(*each, state) for each, state in zip(due, states) if each[1].asked]
        if not asked:
            return []
        by_pixels = [window for _, window, _ in asked if window.pixels is not None]
        by_features = [state for _, _, state in asked if state is not None]
        predictor = asked[0][0].predictor
        spent = Timing(), Timing()
        of_features = scores_of_states(by_features, spent[1]) if by_features else ()
        found: tuple[Iterator[_Answer], ...] = (
            iter(_answers_to_pixels(predictor, by_pixels, spent[0])),
            ((scores, _OF_ONE_MODEL) for scores in of_features),
        )
        answers = []
        for stream, window, state in asked:
            stream.check_rate(window)
            answer: tuple[npt.NDArray[np.float64] | None, StreamScores] = None, _OF_ONE_MODEL
            if not window.still:
                kind = 0 if state is None else 1
                window.timing.add(spent[kind])
                answer = next(found[kind])
            answers.append(stream.decided(window, *answer))
        return answers


def _answers_to_pixels(
    predictor: Predictor, windows: Sequence[ClipWindow], spent: Timing
) -> Iterable[_Answer]:
    """Return the scores of each window, and those of each of two streams."""
    if not windows:
        return ()
    # A single one is not copied.
    clips = [window.pixels for window in windows if window.pixels is not None]
    pixels = clips[0][np.newaxis] if len(clips) == 1 else np.stack(clips)
    if not isinstance(predictor.spec, TwoStreamSpec):
        return [(each, _OF_ONE_MODEL) for each in predictor.scores(pixels, timing=spent)]
    scores, own = predictor.answered(pixels, timing=spent)
    return [
        (each, {name: rows[number : number + 1] for name, rows in own.items()})
        for number, each in enumerate(scores)
    ]
