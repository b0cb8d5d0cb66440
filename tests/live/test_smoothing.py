"""Smoothing: the label that a stream shows."""

import numpy as np
import pytest
from live import TICK, Shown, block

from r2p_edge import Stream
from r2p_edge.live.motion_gate import MOTION
from r2p_edge.live.smoothing import Decision

SCORES = [[0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("options", "expected", "last"),
    [
        ({}, [0, 1, 0, 1, 1], [0.2, 0.8]),
        ({"smoothing": 1.0}, [0, 1, 0, 1, 1], [0.2, 0.8]),
        ({"smoothing": 0.5}, [0, 0, 0, 1, 1], [0.2875, 0.7125]),
        ({"majority": 3}, [0, 0, 0, 1, 1], [1 / 3, 2 / 3]),
        ({"hysteresis": 0.3}, [0, 0, 0, 1, 1], [0.2, 0.8]),
        ({"min_score": 0.75}, [0, None, None, 1, 1], [0.2, 0.8]),
    ],
)
def test_decisions(options, expected, last):
    decision = Decision(
        **{"smoothing": None, "majority": None, "hysteresis": 0, "min_score": 0} | options
    )
    found = [decision.decide(np.array(scores), 0) for scores in SCORES]
    assert [label for _, label in found] == expected
    np.testing.assert_allclose(found[-1][0], last)
    # After an interruption the scores before it count for nothing.
    np.testing.assert_array_equal(decision.decide(np.array([0.9, 0.1]), 1)[0][0] >= 0.9, True)


def test_labels_do_not_last_through_stillness():
    certain = [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    shown = Shown()
    shown.scores = lambda pixels, timing: np.array([certain.pop(0)])
    stream = Stream(shown, stride=4, majority=3, hysteresis=0.9, motion=MOTION)
    columns = [0, 8] * 4 + [0] * 12 + [0, 8] * 2
    found = [stream.push(block(column), k * TICK) for k, column in enumerate(columns)]
    found = [answer for answer in found if answer is not None]
    assert [answer.live.still for answer in found] == [False] * 2 + [True] * 3 + [False]
    assert found[1].label == "frame 0"
    assert (found[-1].label, found[-1].score) == ("frame 1", 1)
