"""Smoothing: the label that a stream shows, from the scores of successive windows."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import UsageError
from r2p_edge.live.arguments import check_count, check_number

Scores = npt.NDArray[np.float64]


class Decision:
    """Smoothing of scores and hysteresis of labels; by default neither.

    Args:
        smoothing: weight of the newest scores in an exponential mean, above 0 to 1.
        majority: instead, let this many newest windows vote: scores are shares of the votes.
        hysteresis: a label stays until the score of another class is higher by more than this.
        min_score: a window whose best score is lower has no label.
        classes: the scores are those of classes; values have no labels.

    Raises:
        UsageError: an argument is out of its range, smoothing and majority are both given, or
            anything but smoothing where there are no classes.
    """

    def __init__(
        self,
        smoothing: float | None,
        majority: int | None,
        hysteresis: float,
        min_score: float,
        *,
        classes: bool = True,
    ) -> None:
        if smoothing is not None and majority is not None:
            raise UsageError("smoothing and majority exclude each other; choose one")
        if smoothing is not None:
            check_number(
                "smoothing", smoothing, lambda x: 0 < x <= 1, "a number above 0 and at most 1"
            )
        if majority is not None:
            check_count("majority", majority)
        for name, value in (("hysteresis", hysteresis), ("min_score", min_score)):
            check_number(name, value, lambda x: 0 <= x <= 1, "a number from 0 to 1")
        given = {"majority": majority, "hysteresis": hysteresis, "min_score": min_score}
        if not classes and (named := [name for name, value in given.items() if value]):
            raise UsageError(
                f"{', '.join(named)} chooses between classes, and this model gives values; leave "
                "it out"
            )
        self._weight, self._classes = smoothing, classes
        self._hysteresis, self._min_score = hysteresis, min_score
        self._votes: deque[int] | None = None if majority is None else deque(maxlen=majority)
        self._run = -1
        self.forget()

    def forget(self) -> None:
        """Forget the windows before the next one."""
        self._mean: Scores | None = None
        self._held: int | None = None
        if self._votes is not None:
            self._votes.clear()

    def decide(self, scores: Scores, run: int) -> tuple[Scores, int | None]:
        """Return the smoothed scores and the index of the label, None where there is no label.

        Args:
            scores: float64 (classes,), probabilities.
            run: number of the uninterrupted run of frames; smoothing begins anew with each.
        """
        if run != self._run:
            self.forget()
            self._run = run
        if self._weight is not None:
            if self._mean is not None:
                scores = self._weight * scores + (1 - self._weight) * self._mean
            self._mean = scores
        if not self._classes:
            return scores, None
        if self._votes is not None:
            self._votes.append(int(scores.argmax()))
            scores = np.bincount(self._votes, minlength=len(scores)) / len(self._votes)
        best = int(scores.argmax())
        if self._held is not None and scores[best] <= scores[self._held] + self._hysteresis:
            best = self._held
        self._held = best if scores[best] >= self._min_score else None
        return scores, self._held
