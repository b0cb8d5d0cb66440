"""Further outputs that an artifact may have beside its answer: their names, and their record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r2p_edge.errors import SpecError
from r2p_edge.spec.checks import shown

FEATURES = "features"
"""Name of the output of pooled features, (N, C)."""

FEATURE_MAP = "feature_map"
"""Name of the output of the features before the pool: (N, C, T', H', W'), or, without 3-D
convolutions, (T' * N, C, H', W'), where all N clips of a time position lie beside each other."""

CLASS_ACTIVATION = "class_activation"
"""Name of the output of what each position says for each class, whose mean over the positions is
the answer: shaped as the feature map, with the classes in place of C."""

_RANKS = {FEATURES: 1, FEATURE_MAP: 4, CLASS_ACTIVATION: 4}


def check_feature_outputs(record: Mapping[str, Any]) -> None:
    """Check the record of an artifact's further outputs: the shape of each for one clip, by name.

    Raises:
        SpecError: an output is missing or unknown, or its shape cannot be one.
    """
    if not {FEATURES, FEATURE_MAP} <= record.keys() <= _RANKS.keys():
        raise SpecError(
            f"feature_outputs has {', '.join(map(str, record)) or 'nothing'}; it must have "
            f"{FEATURES}, {FEATURE_MAP} and, where the head has them, {CLASS_ACTIVATION}"
        )
    for name, shape in record.items():
        sizes = shape if isinstance(shape, (list, tuple)) else ()
        whole = all(type(size) is int and size > 0 for size in sizes)
        if len(sizes) != _RANKS[name] or not whole:
            raise SpecError(
                f"feature_outputs.{name} is {shown(shape)}; it must be {_RANKS[name]} sizes of 1 "
                "or more, without the axis of clips"
            )
