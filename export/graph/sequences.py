"""Sequences of tensors that PyTorch's exporters write, as plain splits."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from r2p_edge.export.graph.model import Shape, attributes


def without_sequences(model: onnx.ModelProto, shapes: dict[str, Shape]) -> bool:
    """Replace each SplitToSequence that is read at constant places by a Split, in place.

    `chunk`, `split` and `tensor_split` of PyTorch become one where their parts are indexed.

    Args:
        model: of opset 13 or later.
        shapes: of the model's tensors.

    Returns:
        True if there was one.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    replaced: dict[str, list[str]] = {}  # parts of each sequence
    squeezed: dict[str, str] = {}  # the axis to drop from them, the name of a constant
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "SequenceAt" and node.input[0] in replaced:
            parts, axis = replaced[node.input[0]], squeezed.get(node.input[0])
            part = parts[int(numpy_helper.to_array(constants[node.input[1]]))]
            inputs = [part] if axis is None else [part, axis]
            operator = "Identity" if axis is None else "Squeeze"
            kept.append(helper.make_node(operator, inputs, node.output, name=node.name))
            continue
        sizes = _sizes(node, graph, constants, shapes)
        if sizes is None:
            kept.append(node)
            continue
        name, given = node.output[0], attributes(node)
        axis = given.get("axis", 0)
        replaced[name] = [f"{name}.part{i}" for i in range(len(sizes))]
        graph.initializer.append(
            numpy_helper.from_array(np.array(sizes, np.int64), f"{name}.sizes")
        )
        if len(node.input) == 1 and not given.get("keepdims", 1):
            squeezed[name] = f"{name}.axis"
            graph.initializer.append(
                numpy_helper.from_array(np.array([axis], np.int64), squeezed[name])
            )
        inputs = [node.input[0], f"{name}.sizes"]
        kept.append(helper.make_node("Split", inputs, replaced[name], name=node.name, axis=axis))
    del graph.node[:]
    graph.node.extend(kept)
    return bool(replaced)


def _sizes(
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    constants: dict[str, onnx.TensorProto],
    shapes: dict[str, Shape],
) -> list[int] | None:
    """Return the sizes of the parts of a SplitToSequence that can be replaced; else None."""
    if node.op_type != "SplitToSequence" or node.input[0] not in shapes:
        return None
    readers = [each for each in graph.node if node.output[0] in each.input]
    inner = [each for each in graph.node if any(part.HasField("g") for part in each.attribute)]
    indexed = all(each.op_type == "SequenceAt" and each.input[1] in constants for each in readers)
    if inner or not indexed or any(value.name == node.output[0] for value in graph.output):
        return None
    shape = shapes[node.input[0]]
    size = shape[attributes(node).get("axis", 0) % len(shape)]
    if len(node.input) == 1 or not node.input[1]:
        return [1] * size
    if node.input[1] not in constants:
        return None
    split = numpy_helper.to_array(constants[node.input[1]])
    if split.ndim:
        return [int(each) for each in split]
    step = int(split)
    return [min(step, size - start) for start in range(0, size, step)]
