"""Per ONNX operator, what it becomes where tensors of more than four axes are held in four."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import onnx

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.conv2d.builder import FramesGraph, LoweringError, Value
from r2p_edge.export.graph.conv2d.layout import (
    FRAMES,
    MAX_RANK,
    Layout,
    contiguous_layout,
    outermost,
    refined,
)
from r2p_edge.export.graph.conv2d.windows import convolution, pool
from r2p_edge.export.graph.static import StaticGraph, attributes

Lowering = Callable[[FramesGraph, onnx.NodeProto], None]


def _elementwise(graph: FramesGraph, node: onnx.NodeProto) -> None:
    """Also of several inputs that broadcast."""
    if any(node.output[1:]):
        raise LoweringError("its mask would be needed")
    shape = graph.shape(node.output[0])
    layout = graph.common_layout(node.input, shape)
    inputs = [graph.operand(name, layout, shape) if name else "" for name in node.input]
    graph.copy(node, inputs, layout)


def _quantisation(graph: FramesGraph, node: onnx.NodeProto) -> None:
    data, *scales = node.input
    if data in graph.source.constants:
        if attributes(node).get("axis", 1) not in (0, 1) or attributes(node).get("block_size"):
            raise LoweringError("its scales are neither one nor one per channel")
        # The convolutions write it, tap by tap.
        graph.quantized[node.output[0]] = node
        return
    value, axis = graph.value(data), attributes(node).get("axis", 1)
    inputs = [graph.plain(name) for name in scales]
    if math.prod(graph.shape(scales[0])) == 1:
        graph.copy(node, [value.name, *inputs], value.layout, axis=None)
        return
    value, (held,) = graph.apart(value, [axis % len(value.shape)])
    graph.copy(node, [value.name, *inputs], value.layout, axis=held)


def _batch_norm(graph: FramesGraph, node: onnx.NodeProto) -> None:
    if attributes(node).get("training_mode", 0):
        raise LoweringError("it is in training mode")
    _in_layout(FRAMES, graph, node)


def _in_layout(layout: Layout, graph: FramesGraph, node: onnx.NodeProto) -> None:
    """A node that is the same in the given layout of (N, C, T, H, W)."""
    value = graph.value(node.input[0])
    if len(value.shape) != 5:
        raise LoweringError(f"its input has {len(value.shape)} axes")
    value = graph.relayout(value, layout)
    graph.copy(node, [value.name, *map(graph.plain, node.input[1:])], layout)


def _on_last_axis(graph: FramesGraph, node: onnx.NodeProto) -> None:
    """A product with a matrix, or a norm over the last axis."""
    data, *others = node.input
    shape = graph.shape(data)
    last = len(shape) - 1
    if node.op_type == "MatMul" and (len(shape) <= 4 or len(graph.shape(others[0])) != 2):
        raise LoweringError("it multiplies other than with a matrix from the right")
    if node.op_type == "LayerNormalization" and attributes(node).get("axis", -1) not in (-1, last):
        raise LoweringError("it is over more than the last axis")
    if any(node.output[1:]):
        raise LoweringError("its statistics would be needed")
    value, _ = graph.apart(graph.value(data), [last])
    if value.layout[-1] != (last,):
        value = graph.relayout(value, contiguous_layout(shape))
    changed = {} if node.op_type == "MatMul" else {"axis": -1}
    inputs = [value.name, *map(graph.plain, others)]
    graph.copy(node, inputs, value.layout, **changed)


def _softmax(graph: FramesGraph, node: onnx.NodeProto) -> None:
    value = graph.value(node.input[0])
    axis = attributes(node).get("axis", -1) % len(value.shape)
    value, (held,) = graph.apart(value, [axis])
    graph.copy(node, [value.name], value.layout, axis=held)


def _reduction(graph: FramesGraph, node: onnx.NodeProto) -> None:
    given, output = attributes(node), node.output[0]
    value = graph.value(node.input[0])
    rank = len(value.shape)
    axes = given.get("axes") or _ints(graph, node, 1)
    if not axes and given.get("noop_with_empty_axes", 0):
        graph.values[output] = value
        return
    axes = [axis % rank for axis in axes or range(rank)]
    keepdims = given.get("keepdims", 1)
    reduced = graph.reduced(node.op_type, value, axes, output if keepdims else "")
    _set(graph, output, reduced)


def _global_pool(operator: str, graph: FramesGraph, node: onnx.NodeProto) -> None:
    value = graph.value(node.input[0])
    output = node.output[0]
    axes = range(2, len(value.shape))
    graph.values[output] = graph.reduced(operator, value, axes, output)


def _reshape(graph: FramesGraph, node: onnx.NodeProto) -> None:
    """Also Flatten, Squeeze, Unsqueeze and Identity."""
    _set(graph, node.output[0], graph.value(node.input[0]))


def _set(graph: FramesGraph, output: str, value: Value) -> None:
    """Makes `value`, in the shape of the original tensor `output`, that tensor."""
    graph.values[output] = graph.reshaped(value, graph.shape(output), output)


def _transpose(graph: FramesGraph, node: onnx.NodeProto) -> None:
    value = graph.value(node.input[0])
    rank = len(value.shape)
    places = attributes(node).get("perm", range(rank)[::-1])
    moved = {old: new for new, old in enumerate(places)}
    layout = tuple(tuple(moved[axis] for axis in group) for group in value.layout)
    graph.values[node.output[0]] = Value(value.name, graph.shape(node.output[0]), layout)


def _concat(graph: FramesGraph, node: onnx.NodeProto) -> None:
    shape = graph.shape(node.output[0])
    axis = attributes(node)["axis"] % len(shape)
    layout = graph.common_layout(node.input, shape)
    if outermost(layout, shape, axis) is None:
        layout = refined(layout, shape, [axis]) or layout
    parts = [graph.operand(name, layout, graph.shape(name)) for name in node.input]
    (held,) = (i for i, group in enumerate(layout) if axis in group)
    graph.copy(node, parts, layout, axis=held)


def _split(graph: FramesGraph, node: onnx.NodeProto) -> None:
    value = graph.value(node.input[0])
    axis = attributes(node).get("axis", 0) % len(value.shape)
    value, held, unit = graph.outermost(value, axis)
    sizes = graph.ints(*(graph.shape(name)[axis] * unit for name in node.output))
    graph.copy(node, [value.name, sizes], value.layout, axis=held, num_outputs=None)


def _slice(graph: FramesGraph, node: onnx.NodeProto) -> None:
    value, output = graph.value(node.input[0]), node.output[0]
    starts, ends = _ints(graph, node, 1), _ints(graph, node, 2)
    axes = _ints(graph, node, 3) or range(len(starts))
    steps = _ints(graph, node, 4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps):
        axis %= len(value.shape)
        chosen = range(*slice(start, end, step).indices(value.shape[axis]))
        value = graph.sliced(value, axis, chosen.start, step, len(chosen))
    graph.values[output] = value


def _pad(graph: FramesGraph, node: onnx.NodeProto) -> None:
    value = graph.value(node.input[0])
    rank, pads = len(value.shape), _ints(graph, node, 1)
    axes = _ints(graph, node, 3) or range(rank)
    amounts = {a % rank: both for a, both in zip(axes, zip(pads, pads[len(pads) // 2 :]))}
    fill = graph.plain(node.input[2]) if len(node.input) > 2 else ""
    mode, output = attributes(node).get("mode", "constant"), node.output[0]
    graph.values[output] = graph.padded(value, amounts, fill, mode, output)


def _gather(graph: FramesGraph, node: onnx.NodeProto) -> None:
    value, output = graph.value(node.input[0]), node.output[0]
    indices = graph.array(node.input[1])
    if indices is None or indices.ndim > 1:
        raise LoweringError("its indices are not a constant vector")
    axis = attributes(node).get("axis", 0) % len(value.shape)
    value, (held,) = graph.apart(value, [axis])
    places = graph.ints(*(int(i) % value.shape[axis] for i in indices.reshape(-1)))
    name = graph.emit("Gather", [value.name, places], axis=held)
    shape = (*value.shape[:axis], indices.size, *value.shape[axis + 1 :])
    _set(graph, output, Value(name, shape, value.layout))


def _repeat(graph: FramesGraph, node: onnx.NodeProto) -> None:
    """Expand and Tile."""
    shape, value = graph.shape(node.output[0]), graph.value(node.input[0])
    value = graph.reshaped(value, (1,) * (len(shape) - len(value.shape)) + value.shape)
    for axis, (have, want) in enumerate(zip(value.shape, shape)):
        value = graph.tiled(value, axis, want // have)
    graph.values[node.output[0]] = value


def _ints(graph: FramesGraph, node: onnx.NodeProto, index: int) -> list[int]:
    """The node's constant input of that index as integers; none where it is left out."""
    if len(node.input) <= index or not node.input[index]:
        return []
    array = graph.array(node.input[index])
    if array is None:
        raise LoweringError(f"its input {node.input[index]} is not constant")
    return [int(number) for number in np.ravel(array)]


_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh Cast Ceil Celu Clip Cos Cosh Div
    Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish
    IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
    Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish
    Tan Tanh ThresholdedRelu Where Xor
""".split()  # noqa: SIM905  one name a line would be a page

_REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare
""".split()  # noqa: SIM905

LOWERINGS: dict[str, Lowering] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"), _reshape),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantisation),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("MatMul", "LayerNormalization"), _on_last_axis),
    **dict.fromkeys(("Expand", "Tile"), _repeat),
    **dict.fromkeys(("MaxPool", "AveragePool"), pool),
    "BatchNormalization": _batch_norm,
    "Concat": _concat,
    "Conv": convolution,
    "Gather": _gather,
    "GlobalAveragePool": partial(_global_pool, "ReduceMean"),
    "GlobalMaxPool": partial(_global_pool, "ReduceMax"),
    "InstanceNormalization": partial(_in_layout, ((0,), (1,), (2,), (3, 4))),
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}
"""What each operator becomes; it is called for nodes with a tensor of more than four axes."""


def lowered(
    source: StaticGraph, opset: int, inputs: Iterable[str], outputs: Iterable[str]
) -> FramesGraph:
    """The source's nodes without tensors of more than four axes.

    Raises:
        ModelError: names all nodes and outputs that cannot be without.
    """
    graph = FramesGraph(source, opset)
    for name in inputs:
        graph.feed(name)
    problems: list[str] = []
    for node in source.nodes:
        graph.place = next(filter(None, node.output))
        if problems and any(name not in source.shapes for name in node.input if name):
            continue  # a consequence of what is named
        try:
            _lower(graph, node)
        except LoweringError as reason:
            problems.append(f"{node.name or node.output[0]} ({node.op_type}: {reason})")
        # After one that cannot be, others may have problems of their own.
        for name in source.shapes.keys() & node.output - graph.values.keys():
            shape = source.shapes[name]
            graph.values[name] = Value(name, shape, contiguous_layout(shape))
    for name in outputs:
        if len(source.shapes.get(name, ())) > MAX_RANK:
            problems.append(f"the output {name} (it has {len(source.shapes[name])} axes)")
        elif name in graph.values and graph.values[name].name != name:
            graph.emit("Identity", [graph.values[name].name], name)
    if problems:
        raise ModelError(
            f"the model has no form without 3-D operators because of {', '.join(problems)}; "
            "replace these in its source and export it again"
        )
    return graph


def _lower(graph: FramesGraph, node: onnx.NodeProto) -> None:
    shapes = graph.source.shapes
    names = [name for name in (*node.input, *node.output) if name]
    unknown = [name for name in names if name not in shapes]
    if any(each.HasField("g") or each.graphs for each in node.attribute):
        raise LoweringError("control flow is not looked into")
    if unknown:
        raise LoweringError(f"the shape of {unknown[0]} is not known before it runs")
    if all(len(shapes[name]) <= MAX_RANK for name in names):
        graph.copy(node, [graph.plain(name) for name in node.input])
    elif node.op_type in LOWERINGS and node.domain in ("", "ai.onnx"):
        LOWERINGS[node.op_type](graph, node)
    else:
        raise LoweringError("it has more than four axes")
