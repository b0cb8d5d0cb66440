"""A day of a camera through the whole live path, over a runtime that answers zeros."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zeros_runtime
from growth import Growth, growth, use
from models import brightness_model, grey_frames

from r2p_edge import Predictor, Stream
from r2p_edge.live.frame import LiveFrame, decoded
from r2p_edge.live.predictions import Feed, PredictionStream

TICK = 0.08  # seconds, of the model
TICKS = 1_080_000
"""Ticks of a day."""

_HOUR = 45_000


class Clock:
    """A clock that the camera moves."""

    now = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


class Camera:
    """A camera of 25 fps, whose frames come as fast as they are read.

    Each hour, or after other numbers of ticks, it is lost for ten seconds, comes back with a clock
    that begins anew, and has dropped some frames.
    """

    live, truncated, lost, timeout = True, False, False, 10.0
    name = "camera"

    def __init__(self, ticks: int, clock: Clock, whole: int = _HOUR) -> None:
        self._ticks, self._clock, self._stopped = ticks, clock, False
        self._whole = whole
        self._images = grey_frames(range(0, 250, 25), 48, 64)

    def frames(self) -> Iterator[LiveFrame]:
        """Yield two frames for each tick."""
        begun = 0.0
        for number in range(2 * self._ticks):
            if self._stopped:
                return
            lost = number % (2 * self._whole) == 2 * self._whole - 1
            if lost:
                self._clock.now += 10
                begun = self._clock.now
            image = self._images[number // 50 % len(self._images)]
            yield LiveFrame(
                self._clock.now - begun,
                self._clock.now,
                image.shape[:2],
                decoded(image),
                joined=not lost,
                dropped=3 * lost,
            )
            self._clock.now += TICK / 2

    def stop(self) -> None:
        """End the frames soon."""
        self._stopped = True

    def close(self) -> None:
        """Release nothing."""


def day(ticks: int = TICKS) -> tuple[int, Growth]:
    """Stream so many ticks; return the number of answers, and the growth per answer."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        zeros_runtime.install(patch)
        model = brightness_model(Path(folder) / "model.onnx")
        with Predictor(model, runtime="zeros") as predictor:
            stream = Stream(
                predictor,
                stride=2,
                majority=5,
                hysteresis=0.1,
                motion=15,
                name="camera",
                clock=clock,
            )
            feed = Feed(stream, Camera(ticks, clock), "all", 60.0, clock=clock)
            answers, expected = 0, ticks // 2 - 100
            with PredictionStream([feed]) as predictions:

                def step() -> None:
                    answer = next(predictions)
                    assert answer.live is not None
                    assert np.isfinite(answer.scores).all()
                    json.dumps(answer.to_dict())

                found = growth(step, expected)
                answers = expected + sum(1 for _ in predictions)
            return answers, found._replace(after=use())
