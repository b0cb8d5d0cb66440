"""A model that is asked again and again: for a clip at a time, or for each frame of a stream."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from r2p_edge.per_frame.state import BorderKind, FrameState, scores_of_states
from r2p_edge.prediction import Timing
from r2p_edge.predictor import Predictor


class Asked(Protocol):
    """A model that is asked.

    Attributes:
        batch: answers that it gives at a time.
    """

    batch: int

    def start(self) -> None:
        """Answer for the first time."""

    def answer(self, clip: npt.NDArray[np.uint8]) -> dict[str, Any]:
        """Answer a clip, (T, H, W, 3).

        Returns:
            {"ms", "scores"}: of the answer; and of one that sees frames {"frame_ms"}, the
            milliseconds of a frame without an answer.
        """
        ...

    def repeat(self, clip: npt.NDArray[np.uint8], seconds: float) -> float:
        """Answer for some seconds, once at least; return the answers a second."""
        ...


class AskedForClips:
    """A model that is asked for whole clips."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self.batch = predictor, predictor.batch

    def start(self) -> None:
        self._predictor.scores(self._predictor.blank())

    def answer(self, clip: npt.NDArray[np.uint8]) -> dict[str, Any]:
        clips = self._clips(clip)
        start = time.perf_counter()
        scores = self._predictor.scores(clips)
        return {"ms": 1e3 * (time.perf_counter() - start), "scores": scores[0].tolist()}

    def repeat(self, clip: npt.NDArray[np.uint8], seconds: float) -> float:
        clips = self._clips(clip)
        self._predictor.scores(clips)
        start, answers = time.perf_counter(), 0
        while (taken := time.perf_counter() - start) < seconds or not answers:
            self._predictor.scores(clips)
            answers += 1
        return answers * self.batch / taken

    def _clips(self, clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        # A model of a larger batch computes as many clips for one as for a full batch.
        return np.ascontiguousarray(np.broadcast_to(clip, (self.batch, *clip.shape)))


class AskedForFrames:
    """A model that is asked for each frame of a stream, in which clips follow each other.

    A window that is answered is one of the clips. What was kept before it is of another one, as
    after a cut. Where an answer waits, the first frames of the clip before follow.
    """

    batch = 1

    def __init__(self, predictor: Predictor, border: BorderKind | None) -> None:
        self._state = FrameState(predictor.per_frame, border)
        self._before = predictor.blank()[0]

    def start(self) -> None:
        self._take(self._before[0])
        self._scores()

    def answer(self, clip: npt.NDArray[np.uint8]) -> dict[str, Any]:
        later = itertools.islice(itertools.cycle(self._before), self._state.wait)
        *frames, last = [*clip, *later]
        spent = []
        for frame in frames:
            start = time.perf_counter()
            self._take(frame)
            spent.append(time.perf_counter() - start)
        self._before = clip
        start = time.perf_counter()
        self._take(last)
        scores = self._scores()
        taken = time.perf_counter() - start
        return {
            "ms": 1e3 * taken,
            "scores": scores.tolist(),
            "frame_ms": 1e3 * statistics.median(spent or [taken]),
        }

    def repeat(self, clip: npt.NDArray[np.uint8], seconds: float) -> float:
        start, answers = time.perf_counter(), 0
        for frame in itertools.cycle(clip):
            self._take(frame)
            self._scores()
            answers += 1
            if (taken := time.perf_counter() - start) >= seconds:
                break
        return answers / taken

    def _take(self, frame: npt.NDArray[np.uint8]) -> None:
        np.copyto(self._state.frame, frame)
        self._state.step()

    def _scores(self) -> npt.NDArray[np.float64]:
        (scores,) = scores_of_states([self._state], Timing())
        return scores
