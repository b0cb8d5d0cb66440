"""The scores of a model at every moment of a video: windows that follow each other closely.

The file is decoded once, from its first frame to its last, and each frame is preprocessed once,
however many windows show it: a window of a file is one of a stream that skips nothing. The model is
not run on all of them: where two windows half a clip apart have the same best class, those between
are not likely to have another, and get scores between theirs. Where they differ, the window in
their middle is looked at too, and so on, down to the finest step.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import SpecError, UsageError, VideoError
from r2p_edge.frame import Image
from r2p_edge.live.capture.file import FileCapture
from r2p_edge.live.frame import LiveFrame
from r2p_edge.live.stream import Stream
from r2p_edge.per_frame.state import BorderKind
from r2p_edge.scores import require_scores
from r2p_edge.spec import ModelSpec
from r2p_edge.video.clip_reader import check_rate
from r2p_edge.video.sampling import Times
from r2p_edge.video.source import open_source

if TYPE_CHECKING:
    from concurrent.futures import Future

    from r2p_edge.predictor import Predictor

SecondsProgress = Callable[[float, float], None]
"""Takes how many seconds of how many have been looked at."""

_BLOCK = 32  # windows that are in memory together, and as many that are read meanwhile


class Run(NamedTuple):
    """A part of a video in which no frames are missing.

    Attributes:
        start, end: seconds of its first frame, and of the end of its last one.
        first, stop: numbers of its windows: from `first` on, before `stop`.
    """

    start: float
    end: float
    first: int
    stop: int


@dataclass(frozen=True)
class WindowScores:
    """The windows of a video.

    Attributes:
        times: float64 (n,), the middle of each in seconds after the first frame of the video.
        scores: float32 (n, classes); of windows that were not looked at, between their neighbours'.
        runs: the parts of the video between which frames are missing, at least one.
        step: seconds from one window to the next.
        duration: seconds of the video, that of its last frame included.
        truncated: the file ended in an error, or well before the end that it declares.
    """

    times: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    runs: list[Run]
    step: float
    duration: float
    truncated: bool


def score_windows(
    predictor: Predictor,
    source: str | Path,
    *,
    every: float | None = None,
    fps: float | None = None,
    reuse: Literal["features"] | None = None,
    border: BorderKind | None = None,
    progress: SecondsProgress | None = None,
) -> WindowScores:
    """Return the scores of the windows of a video; one that is shorter than a clip is one window.

    Args:
        predictor: the model.
        source: path or URL of a video file, or folder of images.
        every: seconds from one window to the next where the best class changes, rounded to ticks;
            by default an eighth of a clip.
        fps: frames per second of a folder of images; by default the rate of the training videos.
        reuse, border: see `Stream`; then all windows are looked at.
        progress: called now and then.

    Raises:
        VideoError: the video cannot be read, or its frames are too far apart for a clip.
        SpecError: the model reads files by frame number.
        UsageError: an argument is wrong in itself, or the model gives values and no classes.
        ModelError, BackendError: see `Predictor.predict`.
    """
    clip = predictor.spec.clip
    check_has_classes(predictor.spec)
    check_rate(source, fps)
    with contextlib.closing(
        open_source(source, fps or clip.fps, count="packets", planes=True)
    ) as video:
        stride = max(clip.frames // 8, 1) if every is None else None
        stream = Stream(
            predictor, stride=stride, every=every, name=video.name, reuse=reuse, border=border
        )
        capture = FileCapture(video.name, clip, stream.buffer.tick, video=video)
        scan = _Scan(stream, capture, progress, float(video.times[-1]))
        if reuse is None:
            # Windows that are looked at in any case have half of their frames in common.
            coarse = max(int(clip.frames // 2 * clip.tick / stream.buffer.every + 1e-6), 1)
            scores = _score(predictor, scan.runs_of_windows(), coarse)
        else:
            scores = scan.scores_of_all(len(predictor.spec.labels))
        times, truncated = video.times, video.truncated
    runs = scan.runs(times)
    duration = runs[-1].end
    if len(scores):
        middles = np.array(scan.middles)
    elif len(runs) == 1:
        answer = predictor.predict(source, fps=fps)
        middles, scores = np.array([duration / 2]), answer.scores[np.newaxis]
        runs = [Run(0.0, duration, 0, 1)]
    else:
        raise VideoError(
            f"{video.name} has no window in which all frames are close enough: two in a row may be "
            f"at most {clip.gap:.3g} s apart; give a video of more frames a second"
        )
    return WindowScores(middles, scores, runs, stream.buffer.every, duration, truncated)


def check_has_classes(spec: ModelSpec) -> None:
    """Check that a model names classes, in windows of time.

    Raises:
        UsageError: it gives values.
        SpecError: it reads files by frame number.
    """
    require_scores(spec, spec.name)
    if spec.output.kind == "values":
        raise UsageError(
            f"{spec.name} gives values and no classes, so a video has no segments; use stream, "
            "which prints the values of each window"
        )
    if spec.clip.sampling == "index" or spec.clip.order == "lexicographic":
        raise SpecError(
            f"{spec.name} picks the frames of a video by their numbers (clip.sampling is "
            f"{spec.clip.sampling}, clip.order is {spec.clip.order}), and a timeline shows it "
            "windows of time; export a model with --order temporal --sampling time"
        )


class _Scan:
    """One reading of a video, and what is learnt of it on the way."""

    def __init__(
        self, stream: Stream, capture: FileCapture, progress: SecondsProgress | None, last: float
    ) -> None:
        self._stream, self._capture = stream, capture
        self._progress, self._last = progress, last
        self.middles: list[float] = []
        self._firsts: list[int] = []  # number of the first window of each run
        self._breaks: list[tuple[float, float]] = []  # frames around the end of each but the last
        self._newest: LiveFrame | None = None

    def runs_of_windows(self) -> Iterator[Iterator[Image]]:
        """Read the video; yield the windows of each run, uint8 (T, H, W, 3), to take in turn."""
        for _, group in itertools.groupby(self._windows(), lambda each: each[0]):
            yield (pixels for _, pixels in group)

    def scores_of_all(self, classes: int) -> npt.NDArray[np.float32]:
        """Read the video; return the scores of all windows, which its stream answers."""
        found = [np.empty((0, classes), np.float32)]
        for _ in self._ticks():
            answer = self._stream.answer()
            if answer is not None:
                self.middles.append(sum(answer.span) / 2)
                found.append(answer.scores[np.newaxis])
        return np.concatenate(found)

    def _windows(self) -> Iterator[tuple[int, Image]]:
        for _ in self._ticks():
            window = self._stream.buffer.take()
            if window is not None and window.pixels is not None:
                self._stream.check_rate(window)
                self.middles.append(sum(window.span) / 2)
                yield len(self._firsts), window.pixels

    def _ticks(self) -> Iterator[None]:
        """Read the video; pause after each tick."""
        for frame in self._capture.frames():
            self._note(frame)
            yield from self._stream.buffer.add(frame)
            if self._progress is not None:
                self._progress(frame.time, self._last)

    def _note(self, frame: LiveFrame) -> None:
        """Begin another run at a frame that does not continue the one before."""
        newest, self._newest = self._newest, frame
        if newest is not None:
            missing = frame.time - newest.time > self._stream.buffer.gap
            if not missing and frame.size == newest.size:
                return
            self._breaks.append((newest.time if missing else frame.time, frame.time))
        self._firsts.append(len(self.middles))

    def runs(self, times: Times) -> list[Run]:
        """Return the runs of a video with these frames, not all of which have been wanted."""
        period = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        starts, ends = [float(times[0])], []
        for before, after in self._breaks:
            if before < after:  # the hole lies somewhere between
                near = times[(times >= before) & (times <= after)]
                place = int(np.diff(near).argmax())
                before, after = float(near[place]) + period, float(near[place + 1])
            ends.append(min(before, after))
            starts.append(after)
        ends.append(float(times[-1]) + period)
        stops = [*self._firsts[1:], len(self.middles)]
        return [Run(*each) for each in zip(starts, ends, self._firsts, stops)]


def _score(
    predictor: Predictor, runs: Iterable[Iterator[Image]], coarse: int
) -> npt.NDArray[np.float32]:
    """Return the scores of the windows of all runs, computed while the next ones are read."""
    from concurrent.futures import ThreadPoolExecutor

    found = [np.empty((0, len(predictor.spec.labels)))]
    with ThreadPoolExecutor(1) as pool:
        for run in runs:
            before: npt.NDArray[np.float64] | None = None
            pending: Future[npt.NDArray[np.float64]] | None = None
            while block := list(itertools.islice(run, _BLOCK)):
                if pending is not None:
                    found.append(pending.result())
                    before = found[-1][-1]
                pending = pool.submit(score_block, predictor.scores, block, before, coarse)
            if pending is not None:
                found.append(pending.result())
    return np.concatenate(found).astype(np.float32)


def score_block(
    scores_of: Callable[[Image], npt.NDArray[np.float64]],
    windows: Sequence[Image],
    before: npt.NDArray[np.float64] | None,
    coarse: int,
) -> npt.NDArray[np.float64]:
    """Return the scores of windows that follow each other, (n, classes), of which few are computed.

    Args:
        scores_of: returns the scores of windows, uint8 (n, T, H, W, 3).
        windows: uint8 (T, H, W, 3) each.
        before: scores of the window before the first; None if there is none.
        coarse: every so many windows one is looked at in any case.
    """
    known = {} if before is None else {-1: before}
    last = len(windows) - 1
    wanted = sorted({*range(0 if before is None else coarse - 1, last, coarse), last})
    while wanted:
        known.update(zip(wanted, scores_of(np.stack([windows[number] for number in wanted]))))
        wanted = [
            (one + two) // 2
            for one, two in itertools.pairwise(sorted(known))
            if two - one > 1 and known[one].argmax() != known[two].argmax()
        ]
    places = sorted(known)
    table = np.stack([known[place] for place in places])
    numbers = np.arange(len(windows))
    return np.stack([np.interp(numbers, places, column) for column in table.T], axis=1)
