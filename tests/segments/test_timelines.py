"""Segments of videos whose labels are known at every moment, and the gaps between them."""

import numpy as np
import pytest
from tides import FALLING, RISING, tide, write_levels

from r2p_edge import Segment, Timeline, timeline
from r2p_edge.errors import UsageError
from r2p_edge.segments import timelines
from r2p_edge.segments.windows import Run, WindowScores

LABELS = ("run", "jump", "sleep")


def made_of(monkeypatch, predictor, scores, runs, step=1.0, **options):
    """Return the timeline of windows with these scores, the first of which is around 0.5 s."""
    windows = WindowScores(
        0.5 + step * np.arange(len(scores)), np.array(scores, np.float32), runs, step, 99.0, False
    )
    monkeypatch.setattr(timelines, "score_windows", lambda *_, **__: windows)
    return timeline(predictor, "video.mp4", **options).segments


@pytest.mark.parametrize("rate", [25, 30, 60])
def test_known_segments(predictor, tmp_path, rate):
    levels = tide("/\\-/", 3.0, rate)
    video = write_levels(tmp_path / "video.mp4", levels, rate=rate)
    found = timeline(predictor, video, every=0.16, hysteresis=0.2, min_score=0.5)
    labels = [segment.label for segment in found.segments]
    assert labels == [RISING, FALLING, None, RISING]
    assert [segment.gap for segment in found.segments] == [None, None, "unsure", None]
    ends = [segment.end for segment in found.segments]
    assert ends == [pytest.approx(at, abs=0.25) for at in (3, 6, 9, 12)]
    assert found.duration == pytest.approx(12.0, abs=0.05)
    assert all(s.score is None or s.score > 0.5 for s in found.segments)
    assert isinstance(found, Timeline)
    assert repr(found) == f"Timeline({str(video)!r}, 4 segments, 12.00 s)"


def test_segments_leave_no_hole(predictor, tmp_path):
    times = [k / 25 for k in range(200) if not 80 <= k < 120]
    video = write_levels(tmp_path / "hole.mp4", tide("/", 8.0)[: len(times)], times)
    found = timeline(predictor, video, min_length=1.0)
    assert [s.gap for s in found.segments] == [None, "no frames", None]
    assert found.segments[0].start == 0.0
    assert found.segments[-1].end == found.duration
    for one, two in zip(found.segments, found.segments[1:]):
        assert one.end == two.start
    hole = found.segments[1]
    assert (hole.start, hole.end) == (pytest.approx(3.2), pytest.approx(4.8))


def test_the_segment_of_a_moment(predictor, tmp_path):
    video = write_levels(tmp_path / "video.mp4", tide("/\\", 2.0))
    found = timeline(predictor, video, every=0.08, min_length=1.0)
    one, two = found.segments
    assert found.at(0.0) is found.at(-1.0) is found.at(one.end - 1e-6) is one
    assert found.at(two.start) is found.at(two.end) is found.at(100.0) is two


def test_a_label_changes_where_the_scores_cross(monkeypatch, predictor):
    scores = [[0.9, 0.1, 0, 0]] * 3 + [[0.8, 0.2, 0, 0], [0.0, 1.0, 0, 0]] + [[0, 1, 0, 0]] * 2
    one, two = made_of(monkeypatch, predictor, scores, [Run(0, 8, 0, 7)], min_length=2)
    # A lead of 0.6 at 3.5 s, and of -1 at 4.5 s.
    assert one.end == two.start == pytest.approx(3.5 + 0.6 / 1.6)
    assert (one.start, two.end) == (0, 8)
    assert one.score == pytest.approx((0.9 * 3 + 0.8) / 4)
    assert two.score == pytest.approx(1.0)


def test_runs_are_decided_one_by_one(monkeypatch, predictor):
    scores = [[1, 0, 0, 0], [0, 1, 0, 0]] + [[1, 0, 0, 0]] * 2
    runs = [Run(0, 2.0, 0, 1), Run(2.0, 4.0, 1, 2), Run(6.0, 7.0, 2, 2), Run(9.0, 12.0, 2, 4)]
    found = made_of(monkeypatch, predictor, scores, runs, min_length=5)
    assert [(s.start, s.end, s.label, s.gap) for s in found] == [
        (0, 2, "frame 0", None),
        (2, 4, "frame 1", None),
        (4, 6, None, "no frames"),
        (6, 7, None, "too short"),
        (7, 9, None, "no frames"),
        (9, 12, "frame 0", None),
    ]


def test_what_is_not_sure_has_no_label(monkeypatch, predictor):
    scores = [[0.4, 0.3, 0.3, 0]] * 5
    for least, label in ((0.39, "frame 0"), (0.41, None)):
        (only,) = made_of(monkeypatch, predictor, scores, [Run(0, 5, 0, 5)], min_score=least)
        assert only.label == label
    assert Segment(0, 5, None, None, "unsure") == only


def test_passwords_are_not_shown(monkeypatch, predictor):
    windows = WindowScores(
        np.array([0.5]), np.eye(4, dtype=np.float32)[:1], [Run(0, 1, 0, 1)], 1, 1, False
    )
    monkeypatch.setattr(timelines, "score_windows", lambda *_, **__: windows)
    found = timeline(predictor, "http://user:secret@host/video.mp4")
    assert "secret" not in repr(found) + str(found.to_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_length": -1}, "min_length is -1; it must be a number of seconds from 0 on"),
        ({"hysteresis": float("nan")}, "hysteresis is nan; it must be"),
        ({"min_score": 1.5}, "min_score is 1.5; it must be a number from 0 to 1"),
        ({"every": 0}, "every is 0; it must be a number of seconds above 0"),
    ],
)
def test_numbers_are_checked(predictor, clip, options, message):
    with pytest.raises(UsageError, match=message):
        timeline(predictor, clip, **options)
