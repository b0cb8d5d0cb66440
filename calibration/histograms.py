"""Ranges chosen from histograms: by percentile, or by least divergence of the quantised values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Range = tuple[float, float]
"""Lowest and highest value that int8 represents."""

PERCENTILE = 99.999
"""Percentage of the values within the range; half of the others are on either side. The default of
onnxruntime.quantization."""

BINS = 2048
"""Bins of a histogram, half for negative values; the default of onnxruntime.quantization."""

LEVELS = 256
"""Levels into which `entropy_range` divides magnitudes: those of uint8."""


def percentile_range(histogram: npt.NDArray[np.int64], bound: float) -> Range:
    """Return the range of all but the outermost values, see `PERCENTILE`.

    Args:
        histogram: counts of the values in equal bins from -bound to bound.
    """
    edges = np.linspace(-bound, bound, len(histogram) + 1)
    share = np.cumsum(histogram) / histogram.sum()
    outside = (1 - PERCENTILE / 100) / 2
    first, last = np.searchsorted(share, [outside, 1 - outside])
    return float(edges[first]), float(edges[last + 1])


def entropy_range(histogram: npt.NDArray[np.int64], bound: float, levels: int = LEVELS) -> Range:
    """Return the symmetric range in which `levels` levels lose least of the distribution.

    Least means the smallest Kullback-Leibler divergence of the magnitudes (Migacz, GTC 2017).
    Values that a rectifier set to zero are exact in any range and say nothing about it, so the
    first bin counts as much as the second. (onnxruntime.quantization counts them, and halves the
    range of most activations of a ResNet or worse.)

    Args:
        histogram: counts of the values in equal bins from -bound to bound, an even number.
    """
    half = len(histogram) // 2
    magnitudes = (histogram[half:] + histogram[:half][::-1]).astype(np.float64)
    magnitudes[0] = magnitudes[1]
    within = np.cumsum(magnitudes)
    best, least = half, np.inf
    for width in range(levels, half + 1):
        inside = magnitudes[:width]
        clipped = inside.copy()
        clipped[-1] += within[-1] - within[width - 1]
        divergence = _divergence(clipped, _quantised(inside, clipped > 0, levels))
        if divergence < least:
            best, least = width, divergence
    threshold = bound * best / half
    return -threshold, threshold


def _quantised(
    counts: npt.NDArray[np.float64], occupied: npt.NDArray[np.bool_], levels: int
) -> npt.NDArray[np.float64]:
    """Return a histogram after quantisation: the occupied bins of each level get their mean."""
    starts = np.arange(levels) * len(counts) // levels
    means = np.add.reduceat(counts, starts) / np.maximum(
        np.add.reduceat(occupied.astype(np.int64), starts), 1
    )
    return np.where(occupied, np.repeat(means, np.diff([*starts, len(counts)])), 0)


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """Return the Kullback-Leibler divergence of two histograms, without impossible bins."""
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())
