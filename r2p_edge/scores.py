"""The scores that a model's outputs stand for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import ModelError, SpecError
from r2p_edge.spec import OutputKind


def scores_from(
    output: npt.NDArray[Any], kind: OutputKind, model: str, runtime: str
) -> npt.NDArray[np.float64]:
    """Return a model's outputs as scores, after checking that they are what its spec says.

    Args:
        output: (clips, classes).
        kind: of the outputs; see `OutputSpec`.
        model, runtime: names for errors.

    Raises:
        ModelError: a number is NaN or infinite.
        SpecError: they are out of the range of this kind.
    """
    scores = np.asarray(output, np.float64)
    if not np.isfinite(scores).all():
        raise ModelError(
            f"{model} answers {scores[~np.isfinite(scores)][0]} on {runtime}; its weights are "
            "damaged or its precision is too low, so export it again"
        )
    if kind == "logits":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    low, high = scores.min(), scores.max()
    if kind == "probabilities" and np.abs(scores.sum(axis=1) - 1).max() > 1e-2:
        high = math.inf
    if kind != "values" and (low < -1e-3 or high > 1.01):
        raise SpecError(
            f"{model} gives scores from {low:.3g} to {scores.max():.3g}, which are not "
            f"{'sigmoids' if kind == 'sigmoid' else kind}; set output.kind in its spec to logits"
        )
    return scores
