"""`timeline`: the segments of a video, each with its label, from start to end."""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import without_password
from r2p_edge.errors import count_of
from r2p_edge.live.arguments import check_number
from r2p_edge.segments.decide import NONE, decide_labels
from r2p_edge.segments.windows import SecondsProgress, WindowScores, score_windows

if TYPE_CHECKING:
    from r2p_edge.predictor import Predictor

MIN_LENGTH, HYSTERESIS, MIN_SCORE = 1.0, 1.0, 0.2
"""Defaults of `timeline`; tests/benchmarks/timeline.py says what they were chosen on."""

Gap = Literal["unsure", "too short", "no frames"]


@dataclass(frozen=True)
class Segment:
    """A part of a video that shows one action, or a gap.

    Attributes:
        start, end: seconds after the first frame of the video; the end belongs to the next one.
        label: name of the class; None in a gap.
        score: mean score of the label over the segment's windows; None in a gap.
        gap: "unsure" where no class has a sufficient score; "too short" for a piece between missing
            frames that has no room for a clip; "no frames" where frames are missing; None where
            there is a label.
    """

    start: float
    end: float
    label: str | None
    score: float | None
    gap: Gap | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes in plain JSON types, times rounded to milliseconds."""
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "label": self.label,
            "score": None if self.score is None else round(self.score, 6),
            "gap": self.gap,
        }


@dataclass(frozen=True)
class Timeline:
    """The segments of a video, in order and without holes between them.

    Attributes:
        video: path or URL, without a password.
        segments: from 0 to `duration`.
        duration: seconds of the video.
        truncated: the file ended in an error, or well before the end that it declares.
        labels: name of each class.
        windows: scores that the segments were decided on.
        model: name of the model.
    """

    video: str
    segments: tuple[Segment, ...]
    duration: float
    truncated: bool
    labels: tuple[str, ...]
    windows: WindowScores
    model: str

    def at(self, time: float) -> Segment:
        """Return the segment that a moment lies in; the first or the last one outside the video."""
        starts = [segment.start for segment in self.segments]
        return self.segments[max(bisect.bisect_right(starts, time) - 1, 0)]

    def to_dict(self) -> dict[str, Any]:
        """Return the timeline in plain JSON types, without the scores of the windows."""
        return {
            "video": self.video,
            "duration": round(self.duration, 3),
            "truncated": self.truncated,
            "model": self.model,
            "every": round(self.windows.step, 6),
            "segments": [segment.to_dict() for segment in self.segments],
        }

    def __repr__(self) -> str:
        segments = count_of(len(self.segments), "segment")
        return f"Timeline({self.video!r}, {segments}, {self.duration:.2f} s)"


def timeline(
    predictor: Predictor,
    source: str | Path,
    *,
    every: float | None = None,
    min_length: float = MIN_LENGTH,
    hysteresis: float = HYSTERESIS,
    min_score: float = MIN_SCORE,
    fps: float | None = None,
    reuse: Literal["features"] | None = None,
    border: Literal["flush", "wait"] | None = None,
    progress: SecondsProgress | None = None,
) -> Timeline:
    """Return what happens when in a video.

    The model looks at clips that overlap, and the labels of all of them are decided together. The
    time of a clip is its middle, so that a segment begins where its motion does.

    Args:
        predictor: the model.
        source: path or URL of a video file, or folder of images.
        every: seconds from one clip to the next where the label may change, rounded to ticks; by
            default an eighth of a clip. Where it does not, they are half a clip apart.
        min_length: seconds that a segment lasts at least, unless the video, or its part between
            missing frames, is shorter.
        hysteresis: seconds of a score of 1 by which another label must lead before it is taken.
        min_score: mean score that a segment needs to have a label, from 0 to 1.
        fps: frames per second of a folder of images; by default the rate of the training videos.
        reuse: "features" looks at all clips, `every` seconds apart, and computes each frame once;
            needs a model that was exported with its per-frame form.
        border: with `reuse`, "flush" (the default) or "wait", which takes less work. See `Stream`.
        progress: called with the seconds that are done, and those that there are.

    Raises:
        VideoNotFoundError: there is no such video.
        VideoError: the video cannot be read, or its frames are too far apart for a clip.
        SpecError: the model reads files by frame number.
        UsageError: an argument is out of its range, or the model gives values and no classes.
        ModelError: the model answers NaN, or its per-frame form is missing.
        BackendError: the runtime failed.
    """
    for name, value in (("min_length", min_length), ("hysteresis", hysteresis)):
        check_number(name, value, lambda x: 0 <= x < math.inf, "a number of seconds from 0 on")
    check_number("min_score", min_score, lambda x: 0 <= x <= 1, "a number from 0 to 1")
    windows = score_windows(
        predictor, source, every=every, fps=fps, reuse=reuse, border=border, progress=progress
    )
    found: list[Segment] = []
    for run in windows.runs:
        if found and run.start > found[-1].end:
            found.append(Segment(found[-1].end, run.start, None, None, "no frames"))
        if run.first == run.stop:
            found.append(Segment(run.start, run.end, None, None, "too short"))
            continue
        scores = windows.scores[run.first : run.stop]
        labels = decide_labels(
            scores,
            windows.step,
            min_length=min_length,
            hysteresis=hysteresis,
            min_score=min_score,
        )
        times = windows.times[run.first : run.stop]
        found += _stretches(predictor.spec.labels, times, scores, labels, (run.start, run.end))
    return Timeline(
        video=without_password(os.fsdecode(source)),
        segments=tuple(found),
        duration=windows.duration,
        truncated=windows.truncated,
        labels=predictor.spec.labels,
        windows=windows,
        model=predictor.spec.name,
    )


def _stretches(
    names: tuple[str, ...],
    times: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    span: tuple[float, float],
) -> Iterator[Segment]:
    """Yield the segments of a run of windows, from its first frame to its last."""
    changes = np.flatnonzero(np.diff(labels)) + 1
    start = span[0]
    for first, stop in zip([0, *changes], [*changes, len(labels)]):
        end = span[1] if stop == len(labels) else _crossing(times, scores, labels, stop)
        label = int(labels[first])
        if label == NONE:
            yield Segment(start, end, None, None, "unsure")
        else:
            yield Segment(start, end, names[label], float(scores[first:stop, label].mean()))
        start = end


def _crossing(
    times: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    after: int,
) -> float:
    """Return when one label takes the place of another: where their scores cross.

    That is between the two windows around the change, in their middle if the scores do not cross
    there or one of the two is no label.
    """
    one, two = labels[after - 1 : after + 1]
    share = 0.5
    if NONE not in (one, two):
        before, behind = scores[after - 1 : after + 1, one] - scores[after - 1 : after + 1, two]
        if before > 0 > behind:
            share = float(before / (before - behind))
    return float(times[after - 1] + share * (times[after] - times[after - 1]))
