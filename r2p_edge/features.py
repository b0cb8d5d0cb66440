"""Features of clips: what a network has made of them when it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.open import Artifact
from r2p_edge.errors import ModelError
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.further import CLASS_ACTIVATION, FEATURE_MAP, FEATURES


@dataclass(frozen=True, eq=False)
class Features:
    """Answers of a model, and the features that it had them from.

    In a network that ends in an average pool, as R(2+1)D does, `features` is the mean of
    `feature_map` over its positions. Each of these sees a part of the clip: T' is 2 for the 16
    frames of an R(2+1)D, so that a position is about 8 frames. An I3D or S3D takes the mean of
    averages over two moments, in which the first and the last moment count half.

    Attributes:
        outputs: float32 (clips, classes), as `Predictor.outputs` gives them.
        features: float32 (clips, C). They are the outputs of a model that answers with features.
        feature_map: float32 (clips, C, T', H', W'). None where the answer is features and the
            model was exported without further outputs.
        class_activation: float32 (clips, classes, T', H', W'), what each position says for each
            class: their mean, taken as for `features`, is `outputs`. None where the network's head
            is more than a linear layer.
    """

    outputs: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    feature_map: npt.NDArray[np.float32] | None
    class_activation: npt.NDArray[np.float32] | None


def further_names(artifact: Artifact) -> tuple[str, ...]:
    """Return the names of an artifact's further outputs.

    Raises:
        ModelError: it has none.
    """
    record = artifact.spec.feature_outputs
    if record is None:
        raise ModelError(
            f"{artifact.path} gives its answer alone; for its features too, export it again with "
            "--feature-output"
        )
    return tuple(name for name in (FEATURES, FEATURE_MAP, CLASS_ACTIVATION) if name in record)


def joined_features(
    calls: list[dict[str, npt.NDArray[Any]]], spec: ModelSpec, clips: int
) -> Features:
    """Return what several calls of a model gave, without that of clips that only fill a batch.

    Args:
        calls: outputs of each call, by name.
        spec: names the answer among them.
        clips: number of clips.
    """
    counts = [len(each[spec.output.name]) for each in calls]

    def joined(name: str) -> npt.NDArray[np.float32]:
        parts = [_by_clip(call[name], count) for call, count in zip(calls, counts)]
        return np.concatenate(parts)[:clips].astype(np.float32)

    return Features(
        joined(spec.output.name),
        joined(FEATURES),
        joined(FEATURE_MAP),
        joined(CLASS_ACTIVATION) if CLASS_ACTIVATION in calls[0] else None,
    )


def _by_clip(values: npt.NDArray[Any], clips: int) -> npt.NDArray[Any]:
    """Return an output with its axis of clips first: a map as (clips, C, T', H', W')."""
    if values.ndim != 4:
        return values
    # Of a graph without 3-D convolutions: the clips of one time position lie beside each other.
    moments = values.reshape(-1, clips, *values.shape[1:])
    return np.ascontiguousarray(moments.transpose(1, 2, 0, 3, 4))
