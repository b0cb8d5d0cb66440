"""Models of one or a few nodes, for checks against the limits of targets."""

from __future__ import annotations

import numpy as np

from r2p_edge.export.graph.operators import check_ops

ASCEND = ("ascend310", "ascend310p", "ascend310b")
NO_3D = ("mindspore-lite", "ascend310b", "dla", "xnnpack", "coreml", "rknn")
CONV3D = {"weight": (4, 4, 1, 3, 3), "shape": (1, 4, 2, 16, 16)}


def model_of(*nodes, shape=(1, 4, 16, 16), constants=(), opset=17, name="x", kind=1, **more):
    """Make a model from `x` to `y` of the nodes (operator, inputs, outputs, attributes)."""
    from onnx import helper

    protos = [
        helper.make_node(operator, inputs.split(), outputs.split(), **attributes)
        for operator, inputs, outputs, attributes in nodes
    ]
    weights = [helper.make_tensor(n, t, s, np.ones(np.prod(s, dtype=int))) for n, t, s in constants]
    graph = helper.make_graph(
        protos,
        "small",
        [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        weights,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more
    )


def conv(weight=(4, 4, 3, 3), shape=(1, 4, 16, 16), kind=1, **attributes):
    """Make a model of one convolution, named "stem"."""
    written = {"name": "stem", "strides": [1] * (len(weight) - 2)}
    node = ("Conv", "x w", "y", {**written, **attributes})
    return model_of(node, shape=shape, constants=[("w", kind, weight)], kind=kind)


def one(operator, shape=(1, 4, 16, 16), opset=17, **attributes):
    """Make a model of one node, named "it"."""
    return model_of((operator, "x", "y", {"name": "it", **attributes}), shape=shape, opset=opset)


def reasons(model, target, **arguments):
    """Return the reasons of all problems of a model."""
    return [problem.reason for problem in check_ops(model, target, **arguments)]
