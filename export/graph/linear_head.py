"""Heads of ONNX networks: taken off, so that a network answers its features, and put on anew."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError
from r2p_edge.export.graph.feature_outputs import drop_feature_outputs
from r2p_edge.export.graph.model import axis_sizes, opset, without_weights
from r2p_edge.export.graph.pooled_head import REJECT_NODE, pooled_head
from r2p_edge.export.graph.static import drop_unused
from r2p_edge.spec import ModelSpec
from r2p_edge.teaching.head import TINY, TaughtHead

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper, shape_inference
except ImportError as error:
    raise missing("onnx") from error

TEACH_ANOTHER = "teach a model that has them, as an R(2+1)D does"
"""Advice where a network has no features."""


def take_head_off(model: onnx.ModelProto, spec: ModelSpec) -> int:
    """Let a network answer the features that its head reads, in place; return their number.

    Its answer keeps its name and becomes float32 (N, C). Further outputs are removed.

    Args:
        model: an artifact, in float or quantised, with 3-D convolutions or without.
        spec: its spec.

    Raises:
        ModelError: the network does not end in an average pool and layers.
    """
    features, count = _cut(model, spec)
    node = helper.make_node("Identity", [features], [spec.output.name], name="features")
    _answer(model.graph, node, count)
    return count


def put_head_on(model: onnx.ModelProto, spec: ModelSpec, head: TaughtHead) -> None:
    """Put another head in the place of a network's own, in place.

    All that stood between the features and the answer is removed, and so are further outputs. The
    head computes in float32, whatever the network computes in.

    Args:
        model, spec: see `take_head_off`.
        head: a linear layer, and perhaps the answer "none of these".

    Raises:
        ModelError: see `take_head_off`; or the network has another number of features.
    """
    features, count = _cut(model, spec)
    check_features(count, head)
    graph = model.graph
    answer = spec.output.name

    def layer(source: str, weight: Any, bias: Any, result: str) -> onnx.NodeProto:
        names = [_free(graph, f"{result}.{part}") for part in ("weight", "bias")]
        for name, value in zip(names, (weight, bias)):
            array = np.ascontiguousarray(value, np.float32)
            graph.initializer.append(numpy_helper.from_array(array, name))
        return helper.make_node("Gemm", [source, *names], [result], name=result, transB=1)

    if head.reject is None:
        node = layer(features, head.weight, head.bias, "head")
        node.output[0] = answer
        _answer(graph, node, len(head.weight))
        return

    def add(node: onnx.NodeProto) -> str:
        graph.node.append(node)
        return str(node.output[0])

    def largest(source: str, result: str) -> onnx.NodeProto:
        if opset(model) < 18:  # since when the axes are an input
            return helper.make_node("ReduceMax", [source], [result], name=result, axes=[1])
        axes = numpy_helper.from_array(np.array([1], np.int64), _free(graph, "reject.axes"))
        graph.initializer.append(axes)
        return helper.make_node("ReduceMax", [source, axes.name], [result], name=result)

    rule, ones = head.reject, np.ones((1, count))
    scores = add(layer(features, head.weight, head.bias, _free(graph, "head")))
    likeness = add(layer(features, rule.means, np.zeros(len(rule.means)), "reject.likeness"))
    nearest = add(largest(likeness, "reject.nearest"))
    squares = add(helper.make_node("Mul", [features, features], ["reject.squares"]))
    square = add(layer(squares, ones, [TINY], "reject.square"))
    length = add(helper.make_node("Sqrt", [square], ["reject.length"]))
    cosine = add(helper.make_node("Div", [nearest, length], ["reject.cosine"]))
    rise = add(layer(cosine, [[-rule.slope]], [rule.slope * rule.cosine], "reject.rise"))
    best = add(largest(scores, "reject.best"))
    none = add(helper.make_node("Add", [best, rise], ["reject.none"]))
    node = helper.make_node("Concat", [scores, none], [answer], name=REJECT_NODE, axis=1)
    _answer(graph, node, len(head.weight) + 1)


def check_features(count: int, head: TaughtHead) -> None:
    """Raise ModelError if a network has another number of features than a head is of."""
    if count != head.weight.shape[1]:
        raise ModelError(
            f"the network has {count} features and the head is of {head.weight.shape[1]}; teach it "
            "on this network"
        )


def _cut(model: onnx.ModelProto, spec: ModelSpec) -> tuple[str, int]:
    """Remove a network's head, and further outputs.

    Returns:
        Name of the features, float32 (N, C), and C.
    """
    if spec.feature_outputs is not None:
        drop_feature_outputs(model, spec)
    name = pooled_head(model, spec.output.name, TEACH_ANOTHER).features
    inferred = shape_inference.infer_shapes(without_weights(model), data_prop=True).graph
    found = next((value for value in inferred.value_info if value.name == name), None)
    sizes = [] if found is None else axis_sizes(found)[1:]
    if found is None or not sizes or None in sizes:
        raise ModelError(
            "the number of the network's features is not known before it runs; export it with "
            "fixed sizes"
        )
    graph = model.graph
    (answer,) = graph.output
    answer.name = name
    drop_unused(graph)
    if len(sizes) > 1:
        flat = _free(graph, "head.flat")
        graph.node.append(helper.make_node("Flatten", [name], [flat], name=flat, axis=1))
        name = flat
    if found.type.tensor_type.elem_type != TensorProto.FLOAT:
        cast = _free(graph, "head.float")
        node = helper.make_node("Cast", [name], [cast], name=cast, to=TensorProto.FLOAT)
        graph.node.append(node)
        name = cast
    return name, prod(size for size in sizes if size is not None)


def _answer(graph: onnx.GraphProto, node: onnx.NodeProto, size: int) -> None:
    """Add the node that makes the answer, (N, size)."""
    # A tensor of the network that had the answer's name went with the head.
    graph.node.append(node)
    (answer,) = graph.output
    batch = answer.type.tensor_type.shape.dim[0]
    shape = [batch.dim_param or batch.dim_value, size]
    answer.CopyFrom(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, shape))
    del graph.value_info[:]  # of which some are of the former head


def _free(graph: onnx.GraphProto, name: str) -> str:
    """Return a name that no tensor of the graph has."""
    taken = {tensor.name for tensor in graph.initializer}
    taken |= {result for node in graph.node for result in node.output}
    while name in taken:
        name += "_"
    return name
