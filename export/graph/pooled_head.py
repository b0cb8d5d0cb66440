"""The end of a video network: its features, their average pool, and the head behind it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError
from r2p_edge.export.graph.axes import REGROUPING
from r2p_edge.export.graph.model import attributes, malformed_is_error

try:
    import onnx
    from onnx import numpy_helper
except ImportError as error:
    raise missing("onnx") from error

_AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
_PASSING = REGROUPING | {"Cast", "Dropout", "Identity"}
_PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0}
# The functions of heads, between their layers and behind them.
_FUNCTIONS = frozenset(
    {"Clip", "Elu", "Gelu", "HardSwish", "LeakyRelu", "LogSoftmax", "Relu", "Sigmoid", "Softmax"}
    | {"BatchNormalization", "LayerNormalization", "Tanh"}
)


class LinearHead(NamedTuple):
    """A head of one linear layer.

    Attributes:
        weight: (classes, C), of the model's own dtype.
        bias: (classes,), the same.
    """

    weight: np.ndarray
    bias: np.ndarray


class PooledHead(NamedTuple):
    """The end of a network that takes the average of its last features.

    Attributes:
        feature_map: name of the tensor before the pool.
        features: name of the tensor that the first layer behind the pool reads.
        linear: the head, if it is one linear layer and nothing else.
    """

    feature_map: str
    features: str
    linear: LinearHead | None


REJECT_NODE = "reject"
"""Name of the node that puts the answer "none of these" beside the classes of a head."""

LEAVE_OUT = "leave feature_outputs (--feature-output) out"
"""Advice for an export of a network without features."""


@malformed_is_error()
def pooled_head(model: onnx.ModelProto, output: str, advice: str = LEAVE_OUT) -> PooledHead:
    """Find the average pool of a network and what stands behind it.

    Args:
        model: an ONNX model, in float or quantised, with 3-D convolutions or without.
        output: name of the tensor of its answer.
        advice: what to do where there is no such end.

    Raises:
        ModelError: behind its last features stands something else than an average and layers.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    layers: list[LinearHead | None] = []
    name, pooled, last_bias = output, "", None
    while (node := makers.get(name)) is not None and node.op_type not in _AVERAGES:
        operator = node.op_type
        if operator in ("Gemm", "MatMul"):
            layers.append(_linear(node, weights, last_bias))
            name = pooled = node.input[0]
            last_bias = None
            continue
        if operator == "Add" and (constant := _constant_of(node, weights)) is not None:
            last_bias = numpy_helper.to_array(weights[constant])
            name = next(each for each in node.input if each != constant)
            continue
        if operator in _FUNCTIONS or (operator == "Concat" and node.name == REJECT_NODE):
            layers.append(None)
        elif operator not in _PASSING:
            raise no_pool(operator, advice)
        name = node.input[0]
    if node is None or not pooled:
        found = "nothing" if node is None else f"{node.op_type} with no layer behind it"
        raise no_pool(found, advice)
    feature_map = name
    while (node := makers.get(name)) is not None and node.op_type in _AVERAGES | REGROUPING:
        name = node.input[0]
        if node.op_type in _AVERAGES:  # what is regrouped before the first of them is no pool
            feature_map = name
    linear = layers[0] if len(layers) == 1 else None
    return PooledHead(feature_map, pooled, linear)


def _linear(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], added: np.ndarray | None
) -> LinearHead | None:
    """Return a layer's weights; None if they are computed, or the layer scales its result."""
    given = attributes(node)
    if node.input[1] not in weights or any(
        given.get(name, usual) != usual for name, usual in _PLAIN_GEMM.items()
    ):
        return None
    weight = numpy_helper.to_array(weights[node.input[1]])
    if weight.ndim != 2:
        return None
    if not given.get("transB", 0):
        weight = weight.T
    bias = np.zeros(len(weight)) if added is None else added
    if len(node.input) > 2 and node.input[2]:
        if node.input[2] not in weights:
            return None
        bias = bias + numpy_helper.to_array(weights[node.input[2]])
    bias = np.broadcast_to(bias.reshape(-1), (len(weight),))
    return LinearHead(weight, bias.astype(weight.dtype))


def _constant_of(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> str | None:
    return next((name for name in node.input if name in weights), None)


def no_pool(found: str, advice: str) -> ModelError:
    """Return the error to raise where a network does not end in an average pool and layers.

    Args:
        found: what it ends in.
        advice: what to do.
    """
    return ModelError(
        f"the network has no average pool and layers behind it at its end, but {found}, so that "
        f"it has no features to put out; {advice}"
    )
