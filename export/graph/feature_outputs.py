"""Further outputs of an ONNX model: its features, and what they say for each class and place."""

from __future__ import annotations

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError
from r2p_edge.export.graph.model import keep_output, without_weights
from r2p_edge.export.graph.pooled_head import pooled_head
from r2p_edge.export.graph.static import drop_unused
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.further import CLASS_ACTIVATION, FEATURE_MAP, FEATURES

try:
    import onnx
    from onnx import helper, numpy_helper, shape_inference
except ImportError as error:
    raise missing("onnx") from error

_NAMES = (FEATURES, FEATURE_MAP, CLASS_ACTIVATION)
_WEIGHTS = (f"{CLASS_ACTIVATION}.weight", f"{CLASS_ACTIVATION}.bias")
_MAP_RANKS = {5: "(N, C, T, H, W)", 4: "(T * N, C, H, W)"}


def add_feature_outputs(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Add features, feature map and class activation after a model's answer, in place.

    See `r2p_edge.spec.further`. The class activation is a convolution of the feature map with the
    weights of the head, so a head that is more than a linear layer has none, nor has an answer of
    features.

    Args:
        model: an artifact, in float or quantised, with 3-D convolutions or without.
        spec: its spec, which stays as it is.

    Raises:
        ModelError: the network does not end in an average pool and layers, or its input or answer
            has the name of a further output.
    """
    if taken := {spec.input.name, spec.output.name} & set(_NAMES):
        raise ModelError(
            f"the model's input or answer is named {', '.join(taken)}, as a further output would "
            "be; give it another name in the spec (input.name, output.name)"
        )
    _make_room(model.graph)
    head = pooled_head(model, spec.output.name)
    graph = model.graph
    inferred = shape_inference.infer_shapes(without_weights(model), data_prop=True).graph
    values = {value.name: value.type.tensor_type for value in inferred.value_info}
    found = values.get(head.feature_map)
    rank = 0 if found is None else len(found.shape.dim)
    if found is None or rank not in _MAP_RANKS:
        raise ModelError(
            f"the network's features have {rank} axes before its average pool; expected "
            f"{' or '.join(_MAP_RANKS.values())}, so leave feature_outputs (--feature-output) out"
        )
    graph.node.add(op_type="Flatten", input=[head.features], output=[FEATURES], name=FEATURES)
    graph.node.add(
        op_type="Identity", input=[head.feature_map], output=[FEATURE_MAP], name=FEATURE_MAP
    )
    batch, channels, *places = (_size(axis) for axis in found.shape.dim)
    clips = _size(inferred.output[0].type.tensor_type.shape.dim[0])
    shapes = {FEATURES: [clips, channels], FEATURE_MAP: [batch, channels, *places]}
    if head.linear is not None and spec.output.kind != "features":
        weight, bias = head.linear
        kernel = weight.reshape(*weight.shape, *[1] * len(places))
        for name, value in zip(_WEIGHTS, (kernel, bias)):
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        inputs = [head.feature_map, *_WEIGHTS]
        node = helper.make_node("Conv", inputs, [CLASS_ACTIVATION], name=CLASS_ACTIVATION)
        graph.node.append(node)
        shapes[CLASS_ACTIVATION] = [batch, len(weight), *places]
    for name, shape in shapes.items():
        graph.output.append(helper.make_tensor_value_info(name, found.elem_type, shape))


def drop_feature_outputs(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Remove all outputs but the answer, and what only they need, in place.

    Raises:
        SpecError: the model has no output of the name that the spec gives.
    """
    keep_output(model, spec.output.name)
    drop_unused(model.graph)


def _size(axis: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if axis.HasField("dim_value"):
        return int(axis.dim_value)
    return axis.dim_param or None


def _make_room(graph: onnx.GraphProto) -> None:
    """Rename tensors of the network that have the name of a further output or of its weights."""
    for tensor in graph.initializer:
        tensor.name = _moved(tensor.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [_moved(name) for name in names]
    del graph.value_info[:]  # of shapes, which are inferred again


def _moved(name: str) -> str:
    return f"network.{name}" if name in (*_NAMES, *_WEIGHTS) else name
