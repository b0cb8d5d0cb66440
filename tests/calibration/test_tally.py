"""The confidence interval of an accuracy."""

from __future__ import annotations

import math

import pytest

from r2p_edge.calibration.tally import wilson_interval


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
