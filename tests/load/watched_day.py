"""A day of three cameras under a watch, with cuts, over a runtime that answers zeros."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zeros_runtime
from day import Camera, Clock
from growth import Growth, growth, use
from models import brightness_model

from r2p_edge import Predictor, Stream
from r2p_edge.live.predictions import Feed, PredictionStream
from r2p_edge.watch import EventRule, NamedSource, Watch

SOURCES = ("door", "yard", "gate")
CUTS = 200
"""Interruptions of each camera in a day: ten seconds without a frame, and a clock begun anew."""


class Counting:
    """A sink that counts, and now and then has to be waited for."""

    name = "the count"

    def __init__(self) -> None:
        self.told: Counter[tuple[str, str, str | None]] = Counter()

    def send(self, message: Mapping[str, Any], stop: object) -> None:
        """Count a message, which has to be plain JSON."""
        json.dumps(message)
        self.told[message["source"], message["type"], message["ended_by"]] += 1

    def close(self) -> None:
        """Release nothing."""


class WatchedDay(NamedTuple):
    """How a day went.

    Attributes:
        answers: number of answers.
        gaps: number of interruptions that each source counted.
        events: number of events that were told, by source, type and cause of the end.
        pictures: number of pictures that were written.
        growth: per answer.
    """

    answers: int
    gaps: dict[str, int]
    events: Counter[tuple[str, str, str | None]]
    pictures: int
    growth: Growth


def watched_day(ticks: int, cuts: int = CUTS) -> WatchedDay:
    """Watch three cameras for so many ticks, 200 for each cut at least; return how it went."""
    clocks = [Clock() for _ in SOURCES]
    counting, gaps = Counting(), dict.fromkeys(SOURCES, 0)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zeros_runtime.install(patch)
        with Predictor(brightness_model(folder / "model.onnx"), runtime="zeros") as predictor:

            def stream_many(sources: Mapping[str, Any], **_: Any) -> PredictionStream:
                return PredictionStream(
                    [
                        Feed(
                            Stream(predictor, stride=2, name=source, clock=clock, wall=clock),
                            Camera(ticks, clock, ticks // cuts - 1),
                            "all",
                            60.0,
                            clock=clock,
                        )
                        for source, clock in zip(sources, clocks)
                    ]
                )

            patch.setattr(predictor, "stream_many", stream_many)
            # Scores of zeros are all the same: an event goes on from one cut to the next.
            watch = Watch(
                predictor,
                [NamedSource(source, 0, {}) for source in SOURCES],
                [EventRule("frame 1", 0.2)],
                sinks=[counting],
                pictures=folder / "pictures",
            )
            answers, expected = 0, 3 * (ticks // 2 - 3 * (cuts + 1))

            def step() -> None:
                answer = next(watch)
                assert answer.live is not None
                gaps[str(answer.live.source)] = answer.live.gaps
                json.dumps(answer.to_dict())

            with watch:
                found = growth(step, expected)
                answers = expected
                for answer in watch:
                    assert answer.live is not None
                    gaps[str(answer.live.source)] = answer.live.gaps
                    answers += 1
            written, failed = watch.picture_counts
            assert failed == 0
            assert not any(each.dropped for each in watch.counts.values())
        return WatchedDay(answers, gaps, counting.told, written, found._replace(after=use()))
