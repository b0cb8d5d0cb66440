"""Dense layers as convolutions, for chips that have the latter in float32 and not the former."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.export.graph.model import attributes

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError as error:
    raise missing("onnx") from error

_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def conv_from_dense(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace each Gemm with constant weights by a convolution of one pixel.

    Those with factors or a transposed input, and those whose bias is not one number for each
    output, stay as they are.

    Args:
        model: an ONNX model; it is left unchanged.

    Returns:
        A new model, which computes the same.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in result.graph.initializer}
    nodes = [
        new for node in list(result.graph.node) for new in _replaced(node, weights, result.graph)
    ]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result


def _replaced(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], graph: onnx.GraphProto
) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that take the place of a node, and add their constants to the graph."""
    given = attributes(node)
    bias = weights.get(node.input[2]) if len(node.input) > 2 else None
    if (
        node.op_type != "Gemm"
        or node.input[1] not in weights
        or any(given.get(name, value) != value for name, value in _PLAIN.items())
        or (len(node.input) > 2 and bias is None)
    ):
        yield node
        return
    matrix = numpy_helper.to_array(weights[node.input[1]])
    kernel = matrix if given.get("transB") else matrix.T
    outputs, inputs = kernel.shape
    if bias is not None and tuple(bias.dims) != (outputs,):
        yield node
        return
    made, name = node.output[0], node.name or node.output[0]
    constants = {
        f"{made}.kernel": np.ascontiguousarray(kernel[:, :, None, None]),
        f"{made}.pixel": np.array([-1, inputs, 1, 1]),
        f"{made}.row": np.array([-1, outputs]),
    }
    graph.initializer.extend(numpy_helper.from_array(a, key) for key, a in constants.items())
    kernel_name, pixel, row = constants
    pixels, convolved = f"{made}.in", f"{made}.out"
    yield helper.make_node("Reshape", [node.input[0], pixel], [pixels], f"{name}.in")
    yield helper.make_node("Conv", [pixels, kernel_name, *node.input[2:3]], [convolved], name)
    yield helper.make_node("Reshape", [convolved, row], [made], f"{name}.out")
