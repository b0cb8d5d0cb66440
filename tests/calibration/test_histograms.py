"""Ranges chosen from histograms, against plain counting."""

import itertools
import math

import numpy as np
import pytest

from r2p_edge.calibration.histograms import BINS, entropy_range, percentile_range


def divergence_of_steps(magnitudes, width, levels):
    """Return the divergence of the first `width` bins, the others clipped, from `levels` steps."""
    inside = list(magnitudes[:width])
    p = [*inside[:-1], sum(magnitudes[width - 1 :])]
    q = [0.0] * width
    edges = [step * width // levels for step in range(levels + 1)]
    for start, end in itertools.pairwise(edges):
        filled = [i for i in range(start, end) if p[i]]
        for i in filled:
            q[i] = sum(inside[start:end]) / len(filled)
    p, q = ([max(count, 1e-4) for count in counts] for counts in (p, q))
    shares = [(a / sum(p), b / sum(q)) for a, b in zip(p, q)]
    return sum(a * math.log(a / b) for a, b in shares)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_entropy_takes_the_least_divergence(power, rectified):
    values = np.random.default_rng(0).normal(size=20_000)
    values = np.sign(values) * np.abs(values) ** power
    if rectified:
        values = np.maximum(values, 0)
    bound = np.abs(values).max()
    histogram = np.histogram(values, 128, range=(-bound, bound))[0]
    # A zero belongs to neither side; numpy counts it on the right one.
    magnitudes = [int(a + b) for a, b in zip(histogram[64:], histogram[:64][::-1])]
    magnitudes[0] = magnitudes[1]
    widths = range(16, 65)
    best = min(widths, key=lambda width: divergence_of_steps(magnitudes, width, 16))
    low, high = entropy_range(histogram, bound, levels=16)
    assert -low == high == pytest.approx(bound * best / 64)


def test_entropy_is_not_misled_by_a_rectifier():
    """Zeros are zeros in any steps: a thousand times as many leave the range as it is."""
    values = np.abs(np.random.default_rng(0).normal(size=200_000))
    found = []
    for zeros in (0, 1000 * len(values)):
        histogram = np.histogram(values, BINS, range=(-5, 5))[0]
        histogram[BINS // 2] += zeros
        found.append(entropy_range(histogram, 5.0))
    assert found[0] == found[1]
    assert 3.0 < found[0][1] < values.max()


@pytest.mark.parametrize("percentile", [90.0, 99.0])
def test_percentile_of_counted_values(percentile, monkeypatch):
    monkeypatch.setattr("r2p_edge.calibration.histograms.PERCENTILE", percentile)
    values = np.random.default_rng(1).gamma(2.0, size=100_000)
    bound = values.max()
    histogram = np.histogram(values, BINS, range=(-bound, bound))[0]
    outside = (100 - percentile) / 2
    expected = np.percentile(values, [outside, 100 - outside])
    found = percentile_range(histogram, bound)
    np.testing.assert_allclose(found, expected, atol=2 * bound / BINS)
