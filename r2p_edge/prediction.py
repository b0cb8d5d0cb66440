"""What a `Predictor` answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass
class Timing:
    """Milliseconds that each stage took; `total` includes what lies between them."""

    decode: float = 0.0
    preprocess: float = 0.0
    inference: float = 0.0
    total: float = 0.0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = (time.perf_counter() - started) * 1e3
            setattr(self, name, getattr(self, name) + elapsed)


@dataclass(frozen=True)
class Prediction:
    """The answer on one video.

    Attributes:
        labels: name of each class.
        scores: float32 (classes,), probabilities, averaged over the clips.
        clips: how many clips were looked at.
        span: seconds after the first frame of the first and the last frame looked at.
        coverage: share of the clips' frames that are real; the rest repeats the last frame of a
            video that is shorter than a clip.
        truncated: decoding stopped before the end that the file declares.
        runtime, device: what it ran on.
        precision: what it was computed in.
        timing: milliseconds of each stage.
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

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.labels[int(self.scores.argmax())]

    @property
    def score(self) -> float:
        """Its probability."""
        return float(self.scores.max())

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes and their probabilities, best first."""
        best = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.labels[i], float(self.scores[i])) for i in best]

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """Plain JSON types, times rounded to microseconds."""
        return {
            "label": self.label,
            "score": self.score,
            "top": [{"label": label, "score": score} for label, score in self.top(top)],
            "clips": self.clips,
            "coverage": self.coverage,
            "truncated": self.truncated,
            "runtime": self.runtime,
            "device": self.device,
            "precision": self.precision,
            "timing_ms": {name: round(value, 3) for name, value in asdict(self.timing).items()},
        }

    def __repr__(self) -> str:
        return f"Prediction(label={self.label!r}, score={self.score:.3f}, clips={self.clips})"
