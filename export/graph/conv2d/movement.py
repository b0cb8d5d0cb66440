"""Operators that move, select or repeat elements."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import onnx

from r2p_edge.export.graph.conv2d.axes import common_layout, operand, padded, sliced, tiled
from r2p_edge.export.graph.conv2d.builder import LoweredGraph, LoweringError, Value
from r2p_edge.export.graph.conv2d.layout import outermost, refined
from r2p_edge.export.graph.model import attributes


def lower_reshape(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Reshape, Flatten, Squeeze, Unsqueeze or Identity."""
    set_reshaped(graph, node.output[0], graph.value(node.input[0]))


def lower_transpose(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Transpose."""
    value = graph.value(node.input[0])
    rank = len(value.shape)
    places = attributes(node).get("perm", range(rank)[::-1])
    moved = {old: new for new, old in enumerate(places)}
    layout = tuple(tuple(moved[axis] for axis in group) for group in value.layout)
    graph.values[node.output[0]] = Value(value.name, graph.shape(node.output[0]), layout)


def lower_concat(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Concat; inputs without elements add nothing to it."""
    shape = graph.shape(node.output[0])
    axis = attributes(node)["axis"] % len(shape)
    filled = [name for name in node.input if 0 not in graph.shape(name)]
    if len(filled) == 1:
        graph.values[node.output[0]] = graph.value(filled[0])
        return
    layout = common_layout(graph, filled, shape)
    if outermost(layout, shape, axis) is None:
        layout = refined(layout, shape, [axis]) or layout
    parts = [operand(graph, name, layout, graph.shape(name)) for name in filled]
    (stored,) = (i for i, group in enumerate(layout) if axis in group)
    graph.copy(node, parts, layout, axis=stored)


def lower_split(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Split."""
    value = graph.value(node.input[0])
    axis = attributes(node).get("axis", 0) % len(value.shape)
    sizes = [graph.shape(name)[axis] if name else 0 for name in node.output]
    if 0 in sizes:  # the parts without elements are constants already
        for name, size, end in zip(node.output, sizes, accumulate(sizes)):
            if name:
                graph.values[name] = sliced(graph, value, axis, end - size, 1, size, name)
        return
    value, stored, unit = graph.outermost(value, axis)
    inputs = [value.name, graph.ints(*(size * unit for size in sizes))]
    graph.copy(node, inputs, value.layout, axis=stored, num_outputs=None)


def lower_slice(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Slice."""
    value, output = graph.value(node.input[0]), node.output[0]
    starts, ends = constant_ints(graph, node, 1), constant_ints(graph, node, 2)
    axes = constant_ints(graph, node, 3) or range(len(starts))
    steps = constant_ints(graph, node, 4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps):
        axis %= len(value.shape)
        chosen = range(*slice(start, end, step).indices(value.shape[axis]))
        value = sliced(graph, value, axis, chosen.start, step, len(chosen))
    graph.values[output] = value


def lower_pad(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Pad."""
    value = graph.value(node.input[0])
    rank, pads = len(value.shape), constant_ints(graph, node, 1)
    axes = constant_ints(graph, node, 3) or range(rank)
    amounts = {a % rank: both for a, both in zip(axes, zip(pads, pads[len(pads) // 2 :]))}
    fill = graph.plain(node.input[2]) if len(node.input) > 2 else ""
    mode, output = attributes(node).get("mode", "constant"), node.output[0]
    graph.values[output] = padded(graph, value, amounts, fill, mode, output)


def lower_gather(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Gather."""
    value, output = graph.value(node.input[0]), node.output[0]
    indices = graph.array(node.input[1])
    if indices is None:
        raise LoweringError("its indices are not constant")
    axis = attributes(node).get("axis", 0) % len(value.shape)
    value, (stored,) = graph.apart(value, [axis])
    places = graph.ints(*(int(i) % value.shape[axis] for i in indices.reshape(-1)))
    name = graph.emit("Gather", [value.name, places], axis=stored)
    shape = (*value.shape[:axis], indices.size, *value.shape[axis + 1 :])
    set_reshaped(graph, output, Value(name, shape, value.layout))


def lower_repeat(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower an Expand or Tile."""
    shape, value = graph.shape(node.output[0]), graph.value(node.input[0])
    value = graph.reshaped(value, (1,) * (len(shape) - len(value.shape)) + value.shape)
    for axis, (have, want) in enumerate(zip(value.shape, shape)):
        value = tiled(graph, value, axis, want // have)
    graph.values[node.output[0]] = value


def set_reshaped(graph: LoweredGraph, output: str, value: Value) -> None:
    """Store `value`, in the shape of the original tensor `output`, as that tensor."""
    graph.values[output] = graph.reshaped(value, graph.shape(output), output)


def constant_ints(graph: LoweredGraph, node: onnx.NodeProto, index: int) -> list[int]:
    """Return the node's constant input of that index as integers; [] for an absent input.

    Raises:
        LoweringError: the input is not constant.
    """
    if len(node.input) <= index or not node.input[index]:
        return []
    array = graph.array(node.input[index])
    if array is None:
        raise LoweringError(f"its input {node.input[index]} is not constant")
    return [int(number) for number in np.ravel(array)]
