"""Figures of answers: intervals from tables, and shares and calibration counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from r2p_edge.calibration.answered import AnsweredVideo, answered_video
from r2p_edge.calibration.tally import SCORE_BINS, Tally, figures_of, wilson_interval

LABELS = ("a", "b", "c", "d", "e", "f")


def answer(truth, label, score=0.9, **more):
    return AnsweredVideo("v", truth=truth, top=((label, score),), **more)


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval(right, total, low, high):
    """R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3."""
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(total - right, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)
    for end in wilson_interval(right, total):
        if end > 1e-9:  # there the share seen is just 1.96 standard errors away
            error = math.sqrt(end * (1 - end) / total)
            assert abs(right / total - end) / error == pytest.approx(1.959964, abs=1e-6)


def test_calibration_error_by_hand():
    """Two filled bins: (0.6 of 0.95 on average right, 5 videos), (all of 0.5, 1 video)."""
    answers = [answer("a", "a" if right else "b", 0.95) for right in (1, 1, 1, 0, 0)]
    tally = Tally([*answers, answer("c", "c", 0.5)], LABELS)
    assert tally.calibration_error == pytest.approx((5 * abs(0.6 - 0.95) + abs(1 - 0.5)) / 6)
    filled = [each for each in tally.reliability if each.videos]
    assert [(each.videos, each.right) for each in filled] == [(1, 1), (5, 3)]
    assert len(tally.reliability) == SCORE_BINS


def test_scores_at_the_ends_of_bins():
    """A bin has its upper end; 0 is in the first one, and more than 1 by rounding in the last."""
    scores = [0.0, 1 / SCORE_BINS, 2 / SCORE_BINS, 1.0, 1.0000001]
    tally = Tally([answer("a", "a", score) for score in scores], LABELS)
    assert [each.videos for each in tally.reliability] == [2, 1, *[0] * (SCORE_BINS - 3), 2]


def test_calibration_error_of_scores_that_are_true_is_small():
    random = np.random.default_rng(0)
    scores = random.uniform(0.2, 1, 20_000)
    right = random.uniform(size=20_000) < scores
    honest = [answer("a", "a" if r else "b", float(s)) for r, s in zip(right, scores)]
    assert Tally(honest, LABELS).calibration_error < 0.02
    boastful = [
        answer("a", "a" if r else "b", float(min(1, s + 0.2))) for r, s in zip(right, scores)
    ]
    assert 0.1 < Tally(boastful, LABELS).calibration_error < 0.2


def test_confusion_has_the_classes_that_occur():
    pairs = [("a", "a"), ("a", "c"), ("a", "c"), ("e", "e"), ("a", "b")]
    tally = Tally([answer(*pair) for pair in pairs], LABELS)
    labels, counts = tally.confusion()
    assert labels == ["a", "b", "c", "e"]
    assert counts.tolist() == [[1, 1, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    first, second = tally.classes
    assert (first.label, first.videos, first.right, first.instead) == ("a", 4, 1, ("c", 2))
    assert (second.share, second.instead) == (1.0, None)


def test_top_5_is_unknown_where_neither_rank_nor_five_classes_are():
    five = tuple((label, 0.2) for label in LABELS[:5])
    listed = AnsweredVideo("v", top=five, truth=None)
    in_them, not_in_them = listed.with_truth("e"), listed.with_truth("f")
    assert (in_them.rank, not_in_them.rank) == (5, None)
    assert Tally([in_them, not_in_them], LABELS).right(5) == 1
    short = AnsweredVideo("v", top=five[:2]).with_truth("c")
    assert Tally([in_them, short], LABELS).right(5) is None
    assert Tally([short], LABELS[:2]).right(5) == 0  # a model of two classes names both
    figures = figures_of(Tally([short], LABELS), Tally([short], LABELS), per_class=False)
    assert (figures["top1"], figures["top5"], figures["top5_interval"]) == (0, None, None)


def test_what_has_no_class_or_no_answer_does_not_count():
    answers = [answer("a", "a"), answer(None, "a"), AnsweredVideo("v", truth="a", error="gone")]
    assert len(Tally(answers, LABELS).counted) == 1


def test_windows_of_a_video_are_one_answer():
    row = {"video": "v", "label": "a", "score": 0.6, "coverage": 1.0, "error": None}
    rows = [
        {**row, "window": 0, "span_start": 0.0, "span_end": 1.0},
        {**row, "window": 1, "span_start": 2.0, "span_end": 3.0, "coverage": 0.5},
    ]
    rows = [{**each, "video_label": "b", "video_score": 0.5} for each in rows]
    found = answered_video(rows)
    assert (found.label, found.score, found.views) == ("b", 0.5, 2)
    assert (found.span, found.coverage, found.part) == ((0.0, 3.0), 0.75, None)
    assert answered_video([{**row, "start": 2.0}]).part == (2.0, math.inf)
