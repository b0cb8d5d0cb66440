"""Models with further outputs, which are verified to be the features that the answer comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import ModelError, ParityError, one_line
from r2p_edge.export.graph.feature_outputs import add_feature_outputs
from r2p_edge.export.verify.ort_session import batches, open_session, run_session
from r2p_edge.export.verify.synthetic_clips import input_from_clips, verification_clips
from r2p_edge.features import Features, joined_features
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.further import CLASS_ACTIVATION, FEATURE_MAP, FEATURES

if TYPE_CHECKING:
    import onnx

_POSITIONS = (2, 3, 4)  # axes T', H' and W' of a map
_TOLERANCE = {"fp32": 1e-4, "int8": 1e-4}  # of the largest number; the head of int8 is in float
_COARSE = 1e-2  # of all other precisions


def with_feature_outputs(model: onnx.ModelProto, spec: ModelSpec) -> ModelSpec:
    """Add further outputs to an artifact's model, in place; return its spec with their record.

    The answer stays what it was, and the outputs are compared with it: the features are the mean
    of the feature map, and the answer that of the class activation.

    Args:
        model: see `add_feature_outputs`.
        spec: its spec.

    Raises:
        ModelError: the network does not end in an average pool and layers, or does not run.
        ParityError: the outputs are not those that the answer comes from.
        MissingDependencyError: onnxruntime is not installed.
    """
    clips = input_from_clips(verification_clips(spec), spec)
    before = run_session(open_session(model.SerializeToString()), clips)
    add_feature_outputs(model, spec)
    found = _run(model, spec, clips)
    assert found.feature_map is not None
    tolerance = _TOLERANCE.get(spec.precision, _COARSE)
    _check("answer", found.outputs, before, tolerance)
    _check("features", found.features, found.feature_map.mean(_POSITIONS), tolerance)
    shapes = {FEATURES: found.features.shape, FEATURE_MAP: found.feature_map.shape}
    if found.class_activation is not None:
        means = found.class_activation.mean(_POSITIONS)
        _check("class activation", means, found.outputs, tolerance)
        shapes[CLASS_ACTIVATION] = found.class_activation.shape
    return spec.replace(feature_outputs={name: list(shape[1:]) for name, shape in shapes.items()})


def _run(model: onnx.ModelProto, spec: ModelSpec, tensor: npt.NDArray[np.generic]) -> Features:
    session = open_session(model.SerializeToString())
    (entry,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    size = entry.shape[0] if isinstance(entry.shape[0], int) else 1
    calls = []
    for full, _ in batches(tensor, size):
        try:
            outputs = session.run(None, {entry.name: full})
        except Exception as error:  # the library's exceptions have no common public base
            raise ModelError(
                f"ONNX Runtime cannot run the model with further outputs ({one_line(error)}); "
                "leave feature_outputs (--feature-output) out"
            ) from error
        calls.append(dict(zip(names, outputs)))
    return joined_features(calls, spec, len(tensor))


def _check(
    what: str,
    found: npt.NDArray[Any],
    expected: npt.NDArray[Any],
    tolerance: float,
) -> None:
    largest = float(np.abs(expected).max()) or 1.0
    difference = float(np.abs(found - expected).max()) / largest
    if not difference <= tolerance:
        raise ParityError(
            f"the network's {what} is not what its end shows: it differs by {difference:.3g} of "
            f"the largest number, where {tolerance:g} is allowed; leave feature_outputs "
            "(--feature-output) out"
        )
