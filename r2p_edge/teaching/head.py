"""Heads: what turns the features of a clip into the scores of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NONE_OF_THESE = "none of these"
"""Label of the answer that a clip is of none of the classes."""

TINY = 1e-12
"""Number that is added to the squared length of features, which may all be 0."""


@dataclass(frozen=True, eq=False)
class Reject:
    """The rule by which a clip is of none of the classes: it is like the mean of none of them.

    Its score is that of the best class, plus `slope` times what the largest cosine lacks of
    `cosine`: above that of the best class if, and only if, the largest cosine is below `cosine`.

    Attributes:
        means: float32 (classes, C), the mean features of each class, each of length 1.
        cosine: least cosine of a clip's features and the nearest mean.
        slope: rise of the score with the distance.
    """

    means: npt.NDArray[np.float32]
    cosine: float
    slope: float

    def cosines(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the cosine of each clip's features, (clips, C), and the nearest mean."""
        features = np.asarray(features, np.float64)
        lengths = np.sqrt((features**2).sum(axis=1) + TINY)
        return np.asarray((features @ self.means.astype(np.float64).T).max(axis=1) / lengths)


@dataclass(frozen=True, eq=False)
class TaughtHead:
    """A linear layer over features, and perhaps the answer "none of these" after its classes.

    Attributes:
        weight: float32 (classes, C).
        bias: float32 (classes,).
        reject: the rule of "none of these"; None without it.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    reject: Reject | None = None

    def logits(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the scores of clips, (clips, classes), before any softmax.

        Args:
            features: (clips, C).
        """
        features = np.asarray(features, np.float64)
        found = features @ self.weight.astype(np.float64).T + self.bias
        if self.reject is None:
            return np.asarray(found)
        lacking = self.reject.cosine - self.reject.cosines(features)
        none = found.max(axis=1) + self.reject.slope * lacking
        return np.concatenate([found, none[:, None]], axis=1)
