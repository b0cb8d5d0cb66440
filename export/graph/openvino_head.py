"""Heads of OpenVINO networks: taken off, and put on anew, as `linear_head` does it in ONNX."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.linear_head import TEACH_ANOTHER, check_features
from r2p_edge.export.graph.pooled_head import REJECT_NODE, LinearHead, no_pool
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.further import CLASS_ACTIVATION, FEATURE_MAP
from r2p_edge.teaching.head import TINY, TaughtHead

_AVERAGES = frozenset({"ReduceMean", "AvgPool", "AdaptiveAvgPool"})
# Behind the pool: layers, their functions, and operators that only regroup.
_BEHIND = (
    frozenset({"MatMul", "Add", "Subtract", "Multiply", "Divide", "Softmax", "LogSoftmax", "Relu"})
    | {"Clamp", "Elu", "Gelu", "HSwish", "HSigmoid", "Sigmoid", "Tanh", "Swish", "Identity"}
    | {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert", "FakeQuantize"}
)


def take_openvino_head_off(openvino: ModuleType, model: Any, spec: ModelSpec) -> int:
    """Let an OpenVINO network answer its features, in place; return their number.

    Args:
        openvino: the library.
        model: the `openvino.Model` of an artifact.
        spec: its spec.

    Raises:
        ModelError: the network does not end in an average pool and layers.
    """
    answer = _result(model, spec.output.name)
    features = _features(answer)
    for result in model.get_results():
        if result != answer:
            model.remove_result(result)
    _feed(answer, _flat(openvino, features), spec.output.name)
    model.validate_nodes_and_infer_types()
    return _count(features)


def put_openvino_head_on(
    openvino: ModuleType, model: Any, spec: ModelSpec, head: TaughtHead
) -> bool:
    """Put another head in the place of an OpenVINO network's own, in place.

    The class activation, where the model has it, becomes that of the new head, or goes where that
    is more than a linear layer.

    Args:
        openvino, model, spec: see `take_openvino_head_off`.
        head: a linear layer, and perhaps the answer "none of these".

    Returns:
        Whether the model still has a class activation.

    Raises:
        ModelError: see `take_openvino_head_off`; or the network has another number of features.
    """
    ops = openvino.opset13
    answer = _result(model, spec.output.name)
    features = _features(answer)
    check_features(_count(features), head)
    flat = _flat(openvino, features)

    def layer(source: Any, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> Any:
        product = ops.matmul(source, ops.constant(weight.astype(np.float32)), False, True)
        return ops.add(product, ops.constant(bias.astype(np.float32)))

    scores = layer(flat, head.weight, head.bias)
    if head.reject is not None:
        rule, sums = head.reject, np.ones((1, _count(features)))
        nearest = ops.reduce_max(layer(flat, rule.means, np.zeros(len(rule.means))), [1], True)
        square = layer(ops.multiply(flat, flat), sums, np.array([TINY]))
        cosine = ops.divide(nearest, ops.sqrt(square))
        lacking = layer(cosine, np.array([[-rule.slope]]), np.array([rule.slope * rule.cosine]))
        none = ops.add(ops.reduce_max(scores, [1], True), lacking)
        scores = ops.concat([scores, none], 1)
        scores.set_friendly_name(REJECT_NODE)
    _feed(answer, scores, spec.output.name)
    activated = CLASS_ACTIVATION in (spec.feature_outputs or ())
    if activated and head.reject is not None:
        model.remove_result(_result(model, CLASS_ACTIVATION))
        activated = False
    elif activated:
        places = _result(model, FEATURE_MAP).input_value(0)
        ones = [1] * (places.get_partial_shape().rank.get_length() - 2)
        kernel = ops.constant(head.weight.reshape(*head.weight.shape, *ones))
        still = [0] * len(ones)
        moved = ops.convolution(places, kernel, ones, still, still, ones)
        here = ops.add(moved, ops.constant(head.bias.reshape(1, -1, *ones)))
        _feed(_result(model, CLASS_ACTIVATION), here, CLASS_ACTIVATION)
    model.validate_nodes_and_infer_types()
    return activated


def openvino_linear_head(openvino: ModuleType, model: Any, spec: ModelSpec) -> LinearHead | None:
    """Return the head of an OpenVINO network, found by running it; None if it is not linear.

    Args:
        openvino, spec: see `take_openvino_head_off`.
        model: as there; it cannot be used afterwards.

    Raises:
        ModelError: see `take_openvino_head_off`.
    """
    answer = _result(model, spec.output.name)
    features = _features(answer)
    size = _count(features)
    shape = [1, *(axis.get_length() for axis in list(features.get_partial_shape())[1:])]
    entry = openvino.opset13.parameter(shape, np.float32)
    features.replace(entry.output(0))
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    try:
        head = openvino.compile_model(openvino.Model([answer], [entry]), "CPU", exact)
    except RuntimeError:  # it is made for another number of clips, or is no layer by itself
        return None
    # A linear function is known by its answers to nothing and to each feature alone.
    request = head.create_infer_request()

    def answered(row: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        return np.array(request.infer([row.reshape(shape)])[0], np.float64).reshape(-1)

    bias = answered(np.zeros(size, np.float32))
    weight = np.stack([answered(row) - bias for row in np.eye(size, dtype=np.float32)], axis=1)
    trial = np.linspace(-2, 3, size, dtype=np.float32)
    expected = weight @ trial + bias
    if np.abs(answered(trial) - expected).max() > 1e-4 * max(np.abs(expected).max(), 1e-6):
        return None
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def _result(model: Any, name: str) -> Any:
    """Return the result of a model that is an output of this name."""
    results = model.get_results()
    if len(results) == 1:  # which other writers may not have named
        return results[0]
    return next(each for each in results if name in each.input_value(0).get_names())


def _features(answer: Any) -> Any:
    """Return the output of a node that the first layer behind the average pool reads."""
    found, node = None, answer.input_value(0).get_node()
    while (kind := node.get_type_name()) not in _AVERAGES:
        if kind not in _BEHIND and not (
            kind == "Concat" and node.get_friendly_name() == REJECT_NODE
        ):
            raise no_pool(kind, TEACH_ANOTHER)
        source = _computed_input(node)
        if kind == "MatMul":
            found = source
        if source is None:
            raise no_pool(f"{kind} of constants", TEACH_ANOTHER)
        node = source.get_node()
    if found is None:
        raise no_pool(f"{kind} with no layer behind it", TEACH_ANOTHER)
    sizes = list(found.get_partial_shape())[1:]
    if not sizes or any(axis.is_dynamic for axis in sizes):
        raise ModelError(
            "the number of the network's features is not known before it runs; export it with "
            "fixed sizes"
        )
    return found


def _computed_input(node: Any) -> Any:
    """Return the first input of a node that comes from the model's input; None without one."""
    for entry in node.input_values():
        waiting, seen = [entry.get_node()], set()
        while waiting:
            each = waiting.pop()
            if each.get_type_name() == "Parameter":
                return entry
            if each.get_friendly_name() not in seen:
                seen.add(each.get_friendly_name())
                waiting += (value.get_node() for value in each.input_values())
    return None


def _count(features: Any) -> int:
    sizes = list(features.get_partial_shape())[1:]
    return int(np.prod([axis.get_length() for axis in sizes]))


def _flat(openvino: ModuleType, features: Any) -> Any:
    """Return a node that makes the features float32 (N, C)."""
    ops = openvino.opset13
    flat = ops.reshape(features, np.array([0, _count(features)]), True)
    return ops.convert(flat, "f32")


def _feed(result: Any, node: Any, name: str) -> None:
    """Let a model's result be what a node makes, under this name."""
    result.input(0).replace_source_output(node.output(0))
    node.output(0).set_names({name})
