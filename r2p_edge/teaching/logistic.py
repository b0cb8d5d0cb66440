"""Logistic regression of several classes, by Newton's method in NumPy: the same bits each time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STEPS = 60  # of Newton's method, which needs about ten
_INNER = 250  # of the conjugate gradients, for each of these
_DECREASE = 1e-4  # least share of the promised decrease of the loss that a step must keep


def fit_logistic(
    features: Floats,
    targets: npt.NDArray[np.intp] | Floats,
    weights: Floats,
    l2: float,
    *,
    start: Floats | None = None,
    tolerance: float = 1e-7,
) -> Floats:
    """Return the weights and biases that minimise the regularised logistic loss.

    The loss is the weighted mean of -log p(class of the clip), or of its mean over the shares that
    the classes have in a clip, plus l2 / 2 times the sum of the squared weights; biases are free.
    It is convex, so that there is one minimum, but for a number that may be added to all biases:
    their mean is 0.

    Args:
        features: (clips, C), standardised.
        targets: (clips,), index of each clip's class, below K, where each class has a clip; or
            (clips, K), shares of the classes, with a sum of 1.
        weights: (clips,), positive; of what weight each clip is.
        l2: strength of the regularisation, above 0.
        start: (K, C + 1) to begin from, such as the answer for another l2.
        tolerance: largest number in the gradient at which to stop.

    Returns:
        (K, C + 1): the weights of each class, and its bias last.
    """
    clips = len(features)
    if targets.ndim == 1:
        targets = np.eye(int(targets.max()) + 1)[targets.astype(np.intp)]
    wanted, classes = targets, targets.shape[1]
    ones = np.concatenate([features, np.ones((clips, 1))], axis=1)
    shares = (weights / weights.sum())[:, None]
    penalty = np.full(ones.shape[1], l2)
    penalty[-1] = 0.0

    def loss_of(head: Floats) -> tuple[float, Floats]:
        logits = ones @ head.T
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        sums = powers.sum(axis=1, keepdims=True)
        own = np.log(sums[:, 0]) - (wanted * logits).sum(axis=1)
        return float(shares[:, 0] @ own + (penalty * head**2).sum() / 2), powers / sums

    head = np.zeros((classes, ones.shape[1])) if start is None else start.copy()
    loss, scores = loss_of(head)
    for _ in range(_STEPS):
        gradient = (shares * (scores - wanted)).T @ ones + penalty * head
        if np.abs(gradient).max() <= tolerance:
            break

        def curve(step: Floats, scores: Floats = scores) -> Floats:
            """Return the Hessian's product with a step."""
            moved = scores * (ones @ step.T)
            moved -= scores * moved.sum(axis=1, keepdims=True)
            return np.asarray((shares * moved).T @ ones + penalty * step)

        step = _solve(curve, -gradient)
        slope, length = float((gradient * step).sum()), 1.0
        while True:
            tried = head + length * step
            new_loss, new_scores = loss_of(tried)
            if new_loss <= loss + _DECREASE * length * slope:
                break
            length /= 2
            if length < 1e-8:  # as exact as the arithmetic allows
                return _centred(head)
        head, loss, scores = tried, new_loss, new_scores
    return _centred(head)


def _solve(curve: Callable[[Floats], Floats], wanted: Floats) -> Floats:
    """Return the step whose product with the Hessian is `wanted`, about, by conjugate gradients."""
    step = np.zeros_like(wanted)
    rest, way = wanted.copy(), wanted.copy()
    square = float((rest * rest).sum())
    # The nearer to the minimum, the more exactly, so that the last steps double the digits.
    enough = square * min(0.25, square**0.5)
    for _ in range(_INNER):
        bent = curve(way)
        length = square / float((way * bent).sum())
        step += length * way
        rest -= length * bent
        former, square = square, float((rest * rest).sum())
        if square <= enough:
            break
        way = rest + (square / former) * way
    return step


def _centred(head: Floats) -> Floats:
    head = head.copy()
    head[:, -1] -= head[:, -1].mean()
    return head
