"""What a model with static shapes holds once all that depends on shapes alone is computed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper, reference, shape_inference

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.conv2d.layout import Shape


class StaticGraph(NamedTuple):
    """The live nodes of a model, in order of execution, and what is known of its tensors.

    Attributes:
        nodes: that depend on the model's input, or dequantise weights.
        constants: weights and computed constants by name.
        shapes: of the tensors whose shape is known before the model runs, constants included.
        types: TensorProto.DataType of the tensors.
    """

    nodes: list[onnx.NodeProto]
    constants: dict[str, onnx.TensorProto]
    shapes: dict[str, Shape]
    types: dict[str, int]


def opset(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators in the model."""
    versions = {entry.domain: int(entry.version) for entry in model.opset_import}
    return versions.get("", versions.get("ai.onnx", 1))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values; strings are str."""
    found = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return {n: v.decode() if isinstance(v, bytes) else v for n, v in found.items()}


def fed(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What has to be fed: the inputs that are not weights."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def highest_rank(model: onnx.ModelProto) -> int:
    """The most axes that any tensor of the model is known to have."""
    graph = _inferred(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    ranks = [len(value.type.tensor_type.shape.dim) for value in values]
    return max([*ranks, *(len(tensor.dims) for tensor in graph.initializer), 0])


def static_graph(model: onnx.ModelProto) -> StaticGraph:
    """Computes what is constant in the model, in place, until every shape that can be is known.

    Branches that a constant decides become part of the graph. Quantised weights stay quantised
    where only convolutions read them.

    Raises:
        ModelError: onnx cannot tell what the model's operators give.
    """
    while True:
        graph = _inferred(model).graph
        values = [*graph.input, *graph.value_info, *graph.output]
        shapes = {value.name: shape for value in values if (shape := _static(value)) is not None}
        # Both in any case: what one changes may be all that the other lacked.
        if not any([_fold(model, shapes), _without_ceil_mode(model, shapes)]):
            break
    _drop_unused(model.graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    types = {value.name: int(value.type.tensor_type.elem_type) for value in values}
    types |= {name: int(tensor.data_type) for name, tensor in constants.items()}
    shapes |= {name: tuple(tensor.dims) for name, tensor in constants.items()}
    return StaticGraph(list(model.graph.node), constants, shapes, types)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # onnx's or protobuf's, by what is wrong
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


def _fold(model: onnx.ModelProto, shapes: dict[str, Shape]) -> bool:
    """Replaces constant nodes by constants and decided branches by theirs; whether there were."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    # The network's results stay computed, be they constant.
    results = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    folded = False
    for node in graph.node:
        branch, values = _taken_branch(node, constants), None
        if results.isdisjoint(node.output) and not _is_quantised_weight(node, graph, constants):
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
            continue
        folded = True
    del graph.node[:]
    graph.node.extend(kept)
    return folded


def _taken_branch(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> onnx.GraphProto | None:
    """The branch of an If whose condition is constant."""
    if node.op_type != "If" or node.input[0] not in constants:
        return None
    condition = numpy_helper.to_array(constants[node.input[0]]).item()
    name = "then_branch" if condition else "else_branch"
    branch: onnx.GraphProto = next(each.g for each in node.attribute if each.name == name)
    return branch


def _without_ceil_mode(model: onnx.ModelProto, shapes: dict[str, Shape]) -> bool:
    """Gives pools the padding that ceil_mode stands for; whether that changed what is inferred.

    Shape inference and runtimes differ about a last window that would start in the padding. It is
    left out here, as by PyTorch and ONNX Runtime.
    """
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in model.graph.node:
        found = attributes(node) if node.op_type in ("AveragePool", "MaxPool") else {}
        rounds_up = found.get("ceil_mode", 0) and set(found.get("dilations", ())) <= {1}
        if not rounds_up or node.input[0] not in shapes or changed:
            nodes.append(node)
            continue
        replacement, sizes = _padded_pool(node, shapes[node.input[0]][2:])
        nodes += replacement
        changed = len(replacement) > 1 or shapes.get(node.output[0], ())[2:] != sizes
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return changed


def _padded_pool(node: onnx.NodeProto, sizes: Shape) -> tuple[list[onnx.NodeProto], Shape]:
    """A pool without ceil_mode, and the sizes that it gives; `sizes` are what it slides over."""
    given, rank = attributes(node), len(sizes)
    kernel, strides = given["kernel_shape"], given.get("strides", [1] * rank)
    pads = list(given.get("pads", [0] * 2 * rank))
    auto_pad = given.get("auto_pad", "NOTSET")
    results, more = [], []
    for size, k, stride, before, after in zip(sizes, kernel, strides, pads, pads[rank:]):
        count = -(-(size + before + after - k) // stride) + 1
        if (count - 1) * stride >= size + before:
            count -= 1
        if auto_pad.startswith("SAME"):
            count = -(-size // stride)
        results.append(count)
        more.append(max((count - 1) * stride + k - size - before - after, 0))
    changes: dict[str, Any] = {"ceil_mode": 0}
    nodes, data = [], node.input[0]
    if not auto_pad.startswith("SAME"):
        changes["auto_pad"] = "NOTSET"
        if given.get("count_include_pad", 0) and any(more):
            # The model's own padding counts in the mean, this does not.
            data, amounts = f"{node.output[0]}.padded", f"{node.output[0]}.pads"
            around = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
            nodes.append(helper.make_node("Constant", [], [amounts], value_ints=around))
            nodes.append(helper.make_node("Pad", [node.input[0], amounts], [data]))
            changes["count_include_pad"] = 0
            pads = [0] * 2 * rank
        changes["pads"] = [*pads[:rank], *(a + b for a, b in zip(pads[rank:], more))]
    pool = helper.make_node(node.op_type, [data], node.output, node.name, **{**given, **changes})
    return [*nodes, pool], tuple(results)


def _constant_outputs(
    node: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    shapes: dict[str, Shape],
    version: int,
) -> list[np.ndarray] | None:
    """What the node gives, where that is known before the model runs."""
    if node.domain not in ("", "ai.onnx") or node.op_type.startswith(("Random", "Bernoulli")):
        return None
    if node.op_type in ("Shape", "Size") and node.input[0] in shapes:
        # A tensor of that shape without memory behind it.
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
    except Exception:  # whatever an operator of the reference raises; the node stays
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
    """Drops the nodes and constants that no output of the graph depends on."""
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
    """The names a node reads, those of its inner graphs included."""
    inner = [graph for each in node.attribute for graph in (each.g, *each.graphs)]
    return set(node.input).union(*(_reads(each) for graph in inner for each in graph.node))
