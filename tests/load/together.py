"""Many threads over one model or over one each, and how many answers they give in a second."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact

THREADS = 16


class Answered(NamedTuple):
    """The scores of each clip, in order, and the seconds that all took."""

    scores: list[np.ndarray]
    seconds: float


def clips_for(model: Path, count: int) -> list[np.ndarray]:
    """Return different videos for a model, uint8 (T, H, W, 3)."""
    spec = open_artifact(model).spec
    generator = np.random.default_rng(0)
    shape = (spec.clip.frames, spec.crop.height, spec.crop.width, 3)
    return [generator.integers(0, 256, shape, np.uint8) for _ in range(count)]


def alone(model: Path, runtime: str, clips: Sequence[np.ndarray]) -> Answered:
    """Answer the clips one after another, in this thread."""
    with Predictor(model, runtime=runtime) as predictor:
        predictor.warmup()
        begun = time.perf_counter()
        scores = [predictor.predict(clip).scores for clip in clips]
        return Answered(scores, time.perf_counter() - begun)


def together(model: Path, runtime: str, clips: Sequence[np.ndarray], *, shared: bool) -> Answered:
    """Answer the clips in `THREADS` threads, over one model or over a model for each thread."""
    with ExitStack() as stack:
        count = 1 if shared else THREADS
        predictors = [stack.enter_context(Predictor(model, runtime=runtime)) for _ in range(count)]
        for predictor in predictors:
            predictor.warmup()
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))

        def answer(number: int) -> list[np.ndarray]:
            predictor = predictors[number % count]
            return [predictor.predict(clip).scores for clip in clips[number::THREADS]]

        begun = time.perf_counter()
        parts = list(pool.map(answer, range(THREADS)))
        seconds = time.perf_counter() - begun
    scores = [parts[number % THREADS][number // THREADS] for number in range(len(clips))]
    return Answered(scores, seconds)
