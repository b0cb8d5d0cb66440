"""Scores of a model's outputs: probabilities, or what else its contract says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import ModelError, SpecError
from r2p_edge.spec import ModelSpec, OutputKind


def scores_of_outputs(
    outputs: npt.NDArray[Any], kind: OutputKind, path: Path, runtime: str
) -> npt.NDArray[np.float64]:
    """Return the scores of a model's outputs: their softmax if they are logits, else themselves.

    Args:
        outputs: (clips, classes).
        kind: meaning of the outputs.
        path, runtime: the model and what ran it, for errors.

    Raises:
        ModelError: an output is NaN or infinite.
        SpecError: the outputs are not of that kind.
    """
    scores = np.asarray(outputs, np.float64)
    check_finite(scores, path, runtime)
    if kind == "logits":
        return softmax(scores)
    low, high = float(scores.min()), float(scores.max())
    right = low >= -1e-3 and high <= 1.01
    if kind == "probabilities":
        right = low >= -1e-3 and float(np.abs(scores.sum(axis=1) - 1).max()) <= 1e-2
    if kind != "values" and not right:
        named = "sigmoids" if kind == "sigmoid" else kind
        raise SpecError(
            f"{path} gives scores from {low:.3g} to {high:.3g}, which are not {named}; set "
            "output.kind in its spec to logits"
        )
    return scores


def check_finite(outputs: npt.NDArray[Any], path: Path, runtime: str) -> None:
    """Raise ModelError if an output is NaN or infinite; see `scores_of_outputs`."""
    if not np.isfinite(outputs).all():
        raise ModelError(
            f"{path} answers {outputs[~np.isfinite(outputs)][0]} on {runtime}; its weights are "
            "damaged or its precision is too low, so export it again"
        )


def require_scores(spec: ModelSpec, path: str | Path) -> None:
    """Refuse a model of features where the scores of classes, or values, are needed.

    Raises:
        ModelError: its answer is features.
    """
    if spec.output.kind == "features":
        raise ModelError(
            f"{path} answers with {spec.outputs} features and names no classes; take them by "
            "Predictor.features, teach it classes by videos of them (r2p-edge teach), or export it "
            "again with the layer that scores them (--head FILE)"
        )


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the probabilities of logits, (clips, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
