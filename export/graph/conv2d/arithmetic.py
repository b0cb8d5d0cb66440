"""Arithmetic operators, which keep the places of elements or reduce axes."""

from __future__ import annotations

import math

import onnx

from r2p_edge.export.graph.conv2d.axes import common_layout, operand, reduced
from r2p_edge.export.graph.conv2d.builder import LoweredGraph, LoweringError, Value
from r2p_edge.export.graph.conv2d.layout import IMAGES, Layout, contiguous_layout, stored_shape
from r2p_edge.export.graph.conv2d.movement import constant_ints, set_reshaped
from r2p_edge.export.graph.model import attributes


def lower_elementwise(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower an operator that computes each element alone, of one or more broadcast inputs."""
    if any(node.output[1:]):
        raise LoweringError("its mask would be needed")
    shape = graph.shape(node.output[0])
    layout = common_layout(graph, node.input, shape)
    inputs = [operand(graph, name, layout, shape) if name else "" for name in node.input]
    graph.copy(node, inputs, layout)


def lower_cast(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Cast; one of the model's input comes before the reshaping.

    MindSpore Lite has no kernels for uint8 but that of Cast, and TensorRT can only cast it.
    """
    source, output = node.input[0], node.output[0]
    layout = graph.entries.get(source)
    if layout is None:
        lower_elementwise(graph, node)
        return
    shape = graph.shape(output)
    name = graph.emit("Cast", [source], to=attributes(node)["to"])
    name = graph.emit("Reshape", [name, graph.ints(*stored_shape(layout, shape))], output)
    graph.values[output] = Value(name, shape, layout)


def lower_quantisation(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a QuantizeLinear or DequantizeLinear."""
    data, *scales = node.input
    if data in graph.source.constants:
        if attributes(node).get("axis", 1) not in (0, 1) or attributes(node).get("block_size"):
            raise LoweringError("its scales are neither one nor one per channel")
        # Each convolution dequantises it tap by tap.
        graph.quantized[node.output[0]] = node
        return
    value, axis = graph.value(data), attributes(node).get("axis", 1)
    inputs = [graph.plain(name) for name in scales]
    if math.prod(graph.shape(scales[0])) == 1:
        graph.copy(node, [value.name, *inputs], value.layout, axis=None)
        return
    value, (stored,) = graph.apart(value, [axis % len(value.shape)])
    graph.copy(node, [value.name, *inputs], value.layout, axis=stored)


def lower_batch_norm(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a BatchNormalization."""
    if attributes(node).get("training_mode", 0):
        raise LoweringError("it is in training mode")
    lower_in_layout(IMAGES, graph, node)


def lower_in_layout(layout: Layout, graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a node that is unchanged in the given layout of (N, C, T, H, W)."""
    value = graph.value(node.input[0])
    if len(value.shape) != 5:
        raise LoweringError(f"its input has {len(value.shape)} axes")
    value = graph.relayout(value, layout)
    graph.copy(node, [value.name, *map(graph.plain, node.input[1:])], layout)


def lower_on_last_axis(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a product with a matrix, or a norm over the last axis."""
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


def lower_softmax(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Softmax or LogSoftmax."""
    value = graph.value(node.input[0])
    axis = attributes(node).get("axis", -1) % len(value.shape)
    value, (stored,) = graph.apart(value, [axis])
    graph.copy(node, [value.name], value.layout, axis=stored)


def lower_reduction(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a ReduceMean, ReduceMax, ..."""
    given, output = attributes(node), node.output[0]
    value = graph.value(node.input[0])
    rank = len(value.shape)
    axes = given.get("axes") or constant_ints(graph, node, 1)
    if not axes and given.get("noop_with_empty_axes", 0):
        graph.values[output] = value
        return
    axes = [axis % rank for axis in axes or range(rank)]
    keepdims = given.get("keepdims", 1)
    value = reduced(graph, node.op_type, value, axes, output if keepdims else "")
    set_reshaped(graph, output, value)


def lower_global_pool(operator: str, graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a global pool to the reduction `operator`."""
    value = graph.value(node.input[0])
    output = node.output[0]
    axes = range(2, len(value.shape))
    graph.values[output] = reduced(graph, operator, value, axes, output)
