"""From the scores of one window after another to the label that a stream shows."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import UsageError

Scores = npt.NDArray[np.float64]


class Decision:
    """Smooths the scores and holds on to a label; by default it does neither.

    Args:
        smoothing: weight of the newest scores in an exponential mean, above 0 to 1.
        majority: instead, the scores are the shares of this many newest windows in which each
            class was the most probable.
        hysteresis: a label stays until another class's score is higher by more than this.
        min_score: below it there is no label.

    Raises:
        UsageError: an argument is out of its range, or both kinds of smoothing are asked for.
    """

    def __init__(
        self,
        smoothing: float | None,
        majority: int | None,
        hysteresis: float,
        min_score: float,
    ) -> None:
        if smoothing is not None and majority is not None:
            raise UsageError("smoothing and majority exclude each other; choose one")
        if smoothing is not None and not 0 < smoothing <= 1:
            raise UsageError(f"smoothing is {smoothing}; it must be above 0 and at most 1")
        if majority is not None and majority < 1:
            raise UsageError(f"majority is {majority}; it must be 1 or more")
        for name, value in (("hysteresis", hysteresis), ("min_score", min_score)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name} is {value}; it must be from 0 to 1")
        self._weight = smoothing
        self._hysteresis, self._min_score = hysteresis, min_score
        self._votes: deque[int] | None = None if majority is None else deque(maxlen=majority)
        self._piece = -1
        self.forget()

    def forget(self) -> None:
        """The next window has nothing to do with those before."""
        self._mean: Scores | None = None
        self._held: int | None = None
        if self._votes is not None:
            self._votes.clear()

    def decide(self, scores: Scores, piece: int) -> tuple[Scores, int | None]:
        """The smoothed scores and the label's number.

        Args:
            scores: float64 (classes,), probabilities.
            piece: number of the piece of the stream; another one begins anew.
        """
        if piece != self._piece:
            self.forget()
            self._piece = piece
        if self._weight is not None:
            if self._mean is not None:
                scores = self._weight * scores + (1 - self._weight) * self._mean
            self._mean = scores
        if self._votes is not None:
            self._votes.append(int(scores.argmax()))
            scores = np.bincount(self._votes, minlength=len(scores)) / len(self._votes)
        best = int(scores.argmax())
        if self._held is not None and scores[best] <= scores[self._held] + self._hysteresis:
            best = self._held
        self._held = best if scores[best] >= self._min_score else None
        return scores, self._held
