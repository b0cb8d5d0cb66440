"""Timelines that no model has made."""

from __future__ import annotations

import numpy as np

from r2p_edge.segments.timelines import Segment, Timeline
from r2p_edge.segments.windows import Run, WindowScores


def timeline_of(*segments, video="video.mp4", labels=("run", "jump")):
    """Return a timeline of these segments, whose windows are a second apart and all the same."""
    end = segments[-1].end
    scores = np.full((int(end), len(labels)), 0.5, np.float32)
    windows = WindowScores(
        np.arange(int(end)) + 0.5, scores, [Run(0.0, end, 0, int(end))], 1.0, end, False
    )
    return Timeline(video, segments, end, False, labels, windows, "net")


def two_labels(video="a b.mp4", seconds=100, labels=("run", "jump & <b>", "never")):
    """Return a timeline whose first two labels take turns, with both kinds of gaps between."""
    scores = np.zeros((seconds, len(labels)), np.float32)
    scores[:40, 0] = scores[60:, 1] = 0.75
    segments = (
        Segment(0.0, 40.0, labels[0], 0.75),
        Segment(40.0, 50.0, None, None, "unsure"),
        Segment(50.0, 60.0, None, None, "no frames"),
        Segment(60.0, float(seconds), labels[1], 0.75),
    )
    runs = [Run(0.0, 50.0, 0, 50), Run(60.0, float(seconds), 60, seconds)]
    windows = WindowScores(np.arange(seconds) + 0.5, scores, runs, 1.0, seconds, False)
    return Timeline(video, segments, float(seconds), False, labels, windows, "net")
