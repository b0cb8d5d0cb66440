"""Models with static shapes, after everything that is constant has been computed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper, reference, shape_inference

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.ceil_mode import without_ceil_mode
from r2p_edge.export.graph.model import Shape, opset
from r2p_edge.export.graph.sequences import without_sequences


class StaticGraph(NamedTuple):
    """The nodes of a model that its output depends on, and the shapes and types of its tensors.

    Attributes:
        nodes: those that depend on the model's input or dequantise weights, in execution order.
        constants: weights and computed constants, by name.
        shapes: of the tensors whose shape is known before the model runs, constants included.
        types: TensorProto.DataType of the tensors.
    """

    nodes: list[onnx.NodeProto]
    constants: dict[str, onnx.TensorProto]
    shapes: dict[str, Shape]
    types: dict[str, int]


def highest_rank(model: onnx.ModelProto) -> int:
    """Return the highest rank among the model's tensors of known shape."""
    graph = _inferred(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    ranks = [len(value.type.tensor_type.shape.dim) for value in values]
    return max([*ranks, *(len(tensor.dims) for tensor in graph.initializer), 0])


def static_graph(model: onnx.ModelProto) -> StaticGraph:
    """Compute what is constant in the model, in place, until no more shapes become known.

    Branches that a constant decides become part of the graph. Quantised weights stay quantised if
    only convolutions read them.

    Raises:
        ModelError: onnx cannot infer the shapes of the model.
    """
    while True:
        graph = _inferred(model).graph
        values = [*graph.input, *graph.value_info, *graph.output]
        shapes = {value.name: shape for value in values if (shape := _static(value)) is not None}
        # Both run each time: a change by one can make the other possible.
        types = {value.name: int(value.type.tensor_type.elem_type) for value in values}
        steps = _fold(model, shapes, types), without_ceil_mode(model, shapes)
        if not any([*steps, without_sequences(model, shapes)]):
            break
    _drop_unused(model.graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    types |= {name: int(tensor.data_type) for name, tensor in constants.items()}
    shapes |= {name: tuple(tensor.dims) for name, tensor in constants.items()}
    return StaticGraph(list(model.graph.node), constants, shapes, types)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # onnx's or protobuf's, depending on the fault
        raise ModelError(
            f"onnx cannot infer the shapes of the model ({error}); check it with onnx.checker"
        ) from error


def _static(value: onnx.ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    axes = tensor.shape.dim
    if not all(axis.HasField("dim_value") for axis in axes):
        return None
    return tuple(axis.dim_value for axis in axes)


def _fold(model: onnx.ModelProto, shapes: dict[str, Shape], types: dict[str, int]) -> bool:
    """Replace constant nodes by constants and decided Ifs by their branch; True if any were."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    # The model's outputs stay computed even if they are constant.
    results = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    folded = False
    for node in graph.node:
        branch, values = _taken_branch(node, constants), None
        if results.isdisjoint(node.output) and not _is_quantised_weight(node, graph, constants):
            values = _empty_outputs(node, shapes, types)
            if values is None:
                values = _constant_outputs(node, constants, shapes, opset(model))
        if branch is not None:
            graph.initializer.extend(branch.initializer)
            ends = zip(branch.output, node.output)
            kept += branch.node
            kept += [helper.make_node("Identity", [inner.name], [name]) for inner, name in ends]
        elif values is not None:
            named = {name: np.asarray(value) for name, value in zip(node.output, values) if name}
            tensors = [numpy_helper.from_array(value, name) for name, value in named.items()]
            constants |= {tensor.name: tensor for tensor in tensors}
            graph.initializer.extend(tensors)
        else:
            kept.append(node)
            empty = _empty_parts(node, shapes, types, results)
            graph.initializer.extend(empty)
            folded = folded or bool(empty)
            continue
        folded = True
    del graph.node[:]
    graph.node.extend(kept)
    return folded


def _taken_branch(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> onnx.GraphProto | None:
    """Return the branch that an If with a constant condition takes; else None."""
    if node.op_type != "If" or node.input[0] not in constants:
        return None
    condition = numpy_helper.to_array(constants[node.input[0]]).item()
    name = "then_branch" if condition else "else_branch"
    branch: onnx.GraphProto = next(each.g for each in node.attribute if each.name == name)
    return branch


def _empty_outputs(
    node: onnx.NodeProto, shapes: dict[str, Shape], types: dict[str, int]
) -> list[np.ndarray] | None:
    """Return the node's outputs if none has an element: a slice of nothing is a constant too."""
    if any(name and 0 not in shapes.get(name, ()) for name in node.output):
        return None
    return [_empty(name, shapes, types) if name else np.empty(0) for name in node.output]


def _empty_parts(
    node: onnx.NodeProto, shapes: dict[str, Shape], types: dict[str, int], results: set[str]
) -> list[onnx.TensorProto]:
    """Take the outputs without elements from a node that has others; return them as constants."""
    found = []
    for i, name in enumerate(node.output):
        if 0 in shapes.get(name, ()) and name not in results:
            found.append(numpy_helper.from_array(_empty(name, shapes, types), name))
            node.output[i] = ""
    return found


def _empty(name: str, shapes: dict[str, Shape], types: dict[str, int]) -> np.ndarray:
    return np.empty(shapes[name], helper.tensor_dtype_to_np_dtype(types[name]))


def _constant_outputs(
    node: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    shapes: dict[str, Shape],
    version: int,
) -> list[np.ndarray] | None:
    """Compute the node's outputs if they are known before the model runs; else return None."""
    if node.domain not in ("", "ai.onnx") or node.op_type.startswith(("Random", "Bernoulli")):
        return None
    if node.op_type in ("Shape", "Size") and node.input[0] in shapes:
        # A view of that shape, which takes no memory.
        known = {node.input[0]: np.broadcast_to(np.float32(0), shapes[node.input[0]])}
    elif all(name in constants for name in node.input if name):
        known = {name: numpy_helper.to_array(constants[name]) for name in node.input if name}
    else:
        return None
    inputs = [onnx.ValueInfoProto(name=name) for name in known]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    try:
        return list(reference.ReferenceEvaluator(graph, opsets={"": version}).run(None, known))
    except Exception:  # onnx's reference operators raise anything; then the node stays
        return None


def _is_quantised_weight(
    node: onnx.NodeProto, graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto]
) -> bool:
    if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
        return False
    if len(constants[node.input[0]].dims) <= 4:
        return True
    readers = [reader for reader in graph.node if node.output[0] in reader.input]
    return all(reader.op_type == "Conv" and reader.input[0] != node.output[0] for reader in readers)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and constants that no output of the graph depends on."""
    used = {value.name for value in graph.output}
    live: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if not used.isdisjoint(node.output):
            live.append(node)
            used |= _reads(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(live))
    graph.initializer.extend(tensors)


def _reads(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node reads, in its inner graphs too."""
    inner = [graph for each in node.attribute for graph in (each.g, *each.graphs)]
    return set(node.input).union(*(_reads(each) for graph in inner for each in graph.node))
