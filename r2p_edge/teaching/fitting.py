"""Heads for labelled clips: nearest class means, or logistic regression."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.teaching.head import TaughtHead
from r2p_edge.teaching.logistic import Floats, fit_logistic

Method = Literal["mean", "logistic"]
"""Way to find a head: "mean" answers the class whose mean features have the largest cosine with a
clip's; "logistic" is regularised logistic regression."""

STRENGTHS: dict[Method, tuple[float, ...]] = {
    "mean": (10.0, 20.0, 50.0, 100.0, 200.0),
    "logistic": (1.0, 0.1, 0.01, 0.001),
}
"""Strengths to choose from: the score of a cosine of 1 for "mean", which decides how sure answers
are and not which they are; the L2 regularisation for "logistic"."""

DEFAULT_STRENGTH: dict[Method, float] = {"mean": 50.0, "logistic": 0.01}
"""Strengths where no clip can be left out to choose by."""

_FEW = 5  # clips of a class below which the mean is the better one


def method_for(targets: npt.NDArray[np.intp]) -> Method:
    """Return the method for classes of so many videos: logistic from five a class on.

    Where classes differ, the median counts, as weights balance them.
    """
    return "logistic" if np.median(np.bincount(targets)) >= _FEW else "mean"


def unit_means(features: Floats, targets: npt.NDArray[np.intp]) -> Floats:
    """Return the mean features of each class, (classes, C), each of length 1."""
    means = np.stack([features[targets == k].mean(axis=0) for k in range(targets.max() + 1)])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means / np.where(lengths > 0, lengths, 1))


def fit_head(
    features: Floats,
    targets: npt.NDArray[np.intp],
    method: Method,
    strength: float,
    *,
    tolerance: float = 1e-7,
) -> TaughtHead:
    """Return the head for labelled clips, in which each class has the same weight.

    Args:
        features: float64 (clips, C).
        targets: (clips,), index of each clip's class; each class has a clip.
        method: see `Method`.
        strength: see `STRENGTHS`.
        tolerance: see `fit_logistic`.
    """
    if method == "mean":
        length = float(np.linalg.norm(features, axis=1).mean()) or 1.0
        weight = unit_means(features, targets) * (strength / length)
        return TaughtHead(weight.astype(np.float32), np.zeros(len(weight), np.float32))
    weights = 1.0 / np.bincount(targets)[targets]
    return fit_standardised(features, targets, weights, strength, tolerance=tolerance)


def fit_standardised(
    features: Floats,
    targets: npt.NDArray[np.intp] | Floats,
    weights: Floats,
    strength: float,
    *,
    tolerance: float = 1e-7,
) -> TaughtHead:
    """Return the head of a logistic regression on features of any scale.

    Args:
        features: float64 (clips, C), which are standardised for it.
        targets, weights, tolerance: see `fit_logistic`.
        strength: its L2 regularisation.
    """
    centre, spread = features.mean(axis=0), features.std(axis=0)
    # A feature that never changes says nothing, and is not to be divided by nothing.
    spread = np.where(spread > 1e-6 * (spread.max() or 1.0), spread, 1.0)
    found = fit_logistic(
        (features - centre) / spread, targets, weights, strength, tolerance=tolerance
    )
    weight = found[:, :-1] / spread  # so that it takes features as the network makes them
    bias = found[:, -1] - weight @ centre
    return TaughtHead(weight.astype(np.float32), bias.astype(np.float32))
