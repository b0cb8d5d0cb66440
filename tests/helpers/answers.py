"""An answer without a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r2p_edge.prediction import Live, Prediction, Timing


def prediction(live: Live | None = None, scores: Sequence[float] = (0.2, 0.5, 0.3)) -> Prediction:
    """Return an answer of three classes, two clips, and one time."""
    return Prediction(
        labels=("jump", "run", "walk"),
        scores=np.array(scores, np.float32),
        clips=2,
        span=(0.5, 1.25),
        coverage=1.0,
        truncated=False,
        runtime="onnxruntime",
        device="cpu",
        precision="fp32",
        timing=Timing(decode=1.23456),
        live=live,
    )
