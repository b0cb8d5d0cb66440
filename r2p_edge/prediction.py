"""The answer of a `Predictor`: classes, probabilities, and the time that each stage took."""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import without_password
from r2p_edge.errors import VideoError

if TYPE_CHECKING:
    from r2p_edge.spec import OutputKind


ScoreKind = Literal["probabilities", "sigmoid", "values"]
"""Meaning of scores, see `Prediction.kind`."""

StreamScores = Mapping[str, npt.NDArray[np.float64]]
"""Scores of each of two streams by its name, (clips, classes); empty of one model."""


def utc_text(seconds: float) -> str:
    """Return a moment in ISO 8601 with milliseconds, such as "2026-01-31T12:00:00.250Z".

    Args:
        seconds: since 1970 in UTC.
    """
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def score_kind(output: OutputKind) -> ScoreKind:
    """Return the kind of the scores of a model with such outputs: logits get a softmax."""
    assert output != "features"  # which have no scores
    return "probabilities" if output == "logits" else output


def best_of(
    labels: Sequence[str], scores: npt.NDArray[np.float32], kind: ScoreKind, k: int
) -> list[tuple[str, float]]:
    """Return the k most probable classes and their scores, best first; see `Prediction.top`.

    Args:
        labels: name of each class.
        scores: float32 (classes,).
        kind: meaning of the scores.
        k: number of classes.
    """
    places: Iterable[int] = range(len(labels))
    if kind != "values":
        # Equal scores keep the order of the labels.
        places = np.argsort(-scores, kind="stable").tolist()
    return [(labels[place], float(scores[place])) for place in itertools.islice(places, k)]


@dataclass
class Timing:
    """Milliseconds that each stage took; `total` includes the time between the stages."""

    decode: float = 0.0
    preprocess: float = 0.0
    inference: float = 0.0
    total: float = 0.0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the `with` block takes to the stage of this name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = (time.perf_counter() - started) * 1e3
            setattr(self, name, getattr(self, name) + elapsed)

    def add(self, other: Timing) -> None:
        """Add the milliseconds of another timing, stage by stage."""
        self.decode += other.decode
        self.preprocess += other.preprocess
        self.inference += other.inference
        self.total += other.total


@dataclass(frozen=True)
class Live:
    """The part of an answer that only streams have.

    Attributes:
        source: name of the stream, or None.
        label: class after smoothing and hysteresis; None if its score is below `min_score`, or
            if there is no motion.
        still: there is no motion, so the model was not run, and all scores are 0.
        age_ms: milliseconds from the capture of the clip's newest frame to the answer.
        skipped: windows without an answer since the stream began: a newer one took their turn, or
            the stream was interrupted first.
        dropped: frames since the stream began that were not used, because reading them was too
            slow or they were damaged.
        gaps: times since the stream began that the window was emptied, because frames were
            missing, time jumped, or the frame size changed.
        wall: when the clip's newest frame was captured, in seconds since 1970 in UTC; of a file,
            when it was read.
        exact: the model saw the clip itself, and not features that were kept of its frames.
        lag: seconds from the clip's newest frame to the one that its answer had to wait for.
    """

    source: str | None
    label: str | None
    still: bool
    age_ms: float
    skipped: int
    dropped: int
    gaps: int
    wall: float
    _image: Callable[[], npt.NDArray[np.uint8]] = field(repr=False, compare=False)
    exact: bool = True
    lag: float = 0.0

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """The clip's newest frame in full size, uint8 RGB (H, W, 3), converted on each access.

        For a frame that was pushed it is the caller's array itself.
        """
        return self._image()

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes in plain JSON types, without the label, the image and passwords."""
        return {
            "source": self.source and without_password(self.source),
            "still": self.still,
            "age_ms": round(self.age_ms, 3),
            "skipped": self.skipped,
            "dropped": self.dropped,
            "gaps": self.gaps,
            "wall": utc_text(self.wall),
            "exact": self.exact,
            "lag": round(self.lag, 3),
        }

    def __repr__(self) -> str:
        shown = {"label": self.label, **self.to_dict()}
        return f"Live({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


@dataclass(frozen=True)
class Prediction:
    """The answer on one video, or on one window of a stream.

    Attributes:
        labels: name of each class.
        scores: float32 (classes,), averaged over the clips; `kind` says what they are.
        clips: number of clips looked at.
        span: times of the first and the last frame looked at: seconds after the video's first
            frame, or seconds on the stream's own clock.
        coverage: share of the clips' frames that are real; the rest repeat the last frame of a
            video that is shorter than a clip, the neighbours of frames that are damaged or missing,
            or frames of a stream that has too few.
        truncated: the file ended in an error, or well before the end that it declares.
        runtime: library that ran the model.
        device: device that it ran on.
        precision: precision that it computed in.
        timing: milliseconds of each stage.
        live: the part that only streams have; None for a video.
        kind: "probabilities" that sum to 1; "sigmoid", the probability of each class by itself;
            or "values", numbers named by `labels` that are no classes, as of a regression.
        duration: seconds from the video's first frame to the end of its last one; None for a
            stream.
        streams: of a model of two streams the answer of each by itself, as "rgb" and "flow",
            without smoothing; empty for one model.
    """

    labels: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    clips: int
    span: tuple[float, float]
    coverage: float
    truncated: bool
    runtime: str
    device: str
    precision: str
    timing: Timing
    live: Live | None = None
    kind: ScoreKind = "probabilities"
    duration: float | None = None
    streams: Mapping[str, Prediction] = field(default_factory=dict, repr=False, compare=False)
    _frames: Callable[[], npt.NDArray[np.uint8]] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def label(self) -> str:
        """Name of the most probable class; on a stream `Live.label`, or "" if that is None.

        Values have no class: theirs is "".
        """
        if self.live is not None or self.kind == "values":
            return (self.live.label if self.live else None) or ""
        return self.labels[int(self.scores.argmax())]

    @property
    def score(self) -> float:
        """Probability of the label, or of the most probable class if there is no label.

        Of values it is the first.
        """
        if self.kind == "values":
            return float(self.scores[0])
        if self.live is not None and self.live.label is not None:
            return float(self.scores[self.labels.index(self.live.label)])
        return float(self.scores.max())

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the k most probable classes and their probabilities, best first.

        Of values it returns the first k, in the model's order.
        """
        return best_of(self.labels, self.scores, self.kind, k)

    def frames(self) -> npt.NDArray[np.uint8]:
        """Return the frames that the model saw, after resize and crop: RGB, (clips, T, H, W, 3).

        Those of optical flow are (clips, T, H, W, 2), as `Predictor.pixels` returns them; of two
        streams they are those of the stream of colours.

        No answer holds on to frames unless `predict(keep_frames=True)` has it do so. Those of a
        file or folder on this machine are read again, which takes as long as it did before.

        Raises:
            VideoError: they were not kept, or the file is gone or has other frames now.
        """
        if self._frames is None:
            raise VideoError(
                "this answer keeps no frames; ask predict() for them with keep_frames=True, or "
                "pixels() of the predictor for those of the source"
            )
        return self._frames()

    def plot(self, top: int = 5, axes: Any = None) -> Any:
        """Draw the best classes and their scores as bars; needs Matplotlib.

        Args:
            top: number of classes.
            axes: Matplotlib's `Axes` to draw on; by default those of a new figure.

        Returns:
            The axes.

        Raises:
            MissingDependencyError: Matplotlib is not installed.
        """
        from r2p_edge.pictures.chart import plot_scores

        return plot_scores(self, top, axes)

    def seen(self) -> str:
        """Return what was looked at, for people: "1.2 of 600.0 s"; "" for a stream."""
        first, last = self.span
        if self.duration is None:
            return ""
        if self.clips == 1:
            return f"{last - first:.1f} of {self.duration:.1f} s"
        return f"{self.clips} clips from {first:.1f} to {last:.1f} of {self.duration:.1f} s"

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """Return the answer in plain JSON types, times rounded to microseconds."""
        extra: dict[str, Any] = {}
        if self.live is not None:
            start, end = (round(time, 6) for time in self.span)
            extra = {"time": end, "start": start, "end": end, **self.live.to_dict()}
        if self.kind != "probabilities":
            extra["kind"] = self.kind
        beside: dict[str, Any] = {}
        if self.streams:
            beside["streams"] = {
                name: {
                    **each._best(top),
                    "runtime": each.runtime,
                    "device": each.device,
                    "precision": each.precision,
                }
                for name, each in self.streams.items()
            }
        looked_at: dict[str, Any] = {"span": [round(time, 6) for time in self.span]}
        if self.duration is not None:
            looked_at["duration"] = round(self.duration, 6)
        return {
            **extra,
            **self._best(top),
            **beside,
            "clips": self.clips,
            **looked_at,
            "coverage": self.coverage,
            "truncated": self.truncated,
            "runtime": self.runtime,
            "device": self.device,
            "precision": self.precision,
            "timing_ms": {name: round(value, 3) for name, value in asdict(self.timing).items()},
        }

    def _best(self, top: int) -> dict[str, Any]:
        return {
            "label": self.label or None,
            "score": self.score,
            "top": [{"label": label, "score": score} for label, score in self.top(top)],
        }

    def shown(self, score: float) -> str:
        """Return a score as people read it: in percent, or as the number it is, 8 wide."""
        return f"{score:8.4g}" if self.kind == "values" else f"{score:8.2%}"

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Each answer of a pool would have 400 names of its own.
        self.__dict__.update(state, labels=_same_labels(state["labels"]))

    def __repr__(self) -> str:
        first, last = self.span
        ends = "" if self.duration is None else f", duration={self.duration:.2f}"
        return (
            f"Prediction(label={self.label!r}, score={self.score:.3f}, clips={self.clips}, "
            f"span=({first:.2f}, {last:.2f}){ends})"
        )

    def _repr_html_(self) -> str:
        """Return the answer for notebooks, with the frames that the model saw."""
        from r2p_edge.pictures.table import html_of

        return html_of(self)


@functools.lru_cache(16)  # models whose answers a program reads at a time
def _same_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels that are equal to these and were seen first, so that answers share them."""
    return labels
