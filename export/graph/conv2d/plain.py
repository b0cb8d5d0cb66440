"""Plainer forms of operators that MindSpore Lite 2.0 lacks, or computes wrongly, at every rank.

Each was tried alone between two convolutions on the real library. It has no parser for HardSwish.
It cannot load what its converter makes of a Max, Min or Sum of other than two inputs, of an
InstanceNormalization of three axes, and of a convolution whose strides are not written out. It
computes an Elu without alpha wrongly, an AveragePool that counts its padding, and a maximum below 0
over the images or channels (`reduced` in `axes.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from r2p_edge.export.graph.conv2d.axes import common_layout, operand, reduced
from r2p_edge.export.graph.conv2d.builder import LoweredGraph, Value
from r2p_edge.export.graph.model import attributes


def lower_hard_swish(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a HardSwish, which is x * min(max(x + 3, 0), 6) / 6."""
    value, output = graph.value(node.input[0]), node.output[0]

    def number(like: float) -> str:
        return graph.constant(np.array(like, graph.dtype(output)), f"{output}.{like:.3g}")

    name = graph.emit("Add", [value.name, number(3)])
    name = graph.emit("Clip", [name, number(0), number(6)])
    name = graph.emit("Mul", [value.name, name])
    name = graph.emit("Mul", [name, number(1 / 6)], output)
    graph.values[output] = value._replace(name=name)


def lower_elu(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower an Elu, with its alpha written out."""
    value = graph.value(node.input[0])
    graph.copy(node, [value.name], value.layout, alpha=attributes(node).get("alpha", 1.0))


def lower_pairwise(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Max, Min or Sum to operators of two inputs each."""
    output = node.output[0]
    shape = graph.shape(output)
    layout = common_layout(graph, node.input, shape)
    total, *others = [operand(graph, name, layout, shape) for name in node.input]
    if not others:
        graph.values[output] = graph.value(node.input[0])
        return
    for other in others[:-1]:
        total = graph.emit(node.op_type, [total, other])
    graph.copy(node, [total, others[-1]], layout)


def lower_flat_convolution(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Conv or ConvTranspose of images, with the attributes that Lite wants written out."""
    given, axes = attributes(node), len(graph.shape(node.input[0])) - 2
    written: dict[str, Any] = {"strides": [1] * axes}
    if node.op_type == "ConvTranspose":
        written.update(dilations=[1] * axes, output_padding=[0] * axes)
    missing = {name: value for name, value in written.items() if name not in given}
    graph.copy(node, [graph.plain(name) for name in node.input], **missing)


def counted_average(graph: LoweredGraph, x: Value, output: str, **window: Any) -> str:
    """Emit an average over H and W that counts its padding, as a convolution of equal weights.

    A Pad before an AveragePool would do for Lite, but ONNX Runtime makes one operator of the two,
    which up to 1.20 at least no longer counts the padding.

    Args:
        x: images, (N, C, T, H, W) or (N, C, H, W).
        output: name of the result; "" for any.
        window: attributes of the pool, with "kernel_shape" and "pads".
    """
    height, width = window["kernel_shape"]
    weights = np.full(
        (x.shape[1], 1, height, width), 1 / (height * width), graph.dtype(graph.place)
    )
    name = graph.constant(weights, f"{output or x.name}.weights")
    return graph.emit("Conv", [x.name, name], output, group=x.shape[1], **window)


def lower_flat_average(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower an AveragePool of images; one that counts its padding to a convolution."""
    given, value, output = attributes(node), graph.value(node.input[0]), node.output[0]
    pads = given.get("pads", [0] * 4)
    counted = given.get("count_include_pad", 0) and any(pads) and len(pads) == 4
    if not counted or given.get("ceil_mode", 0):
        graph.copy(node, [value.name])
        return
    window = {"strides": [1, 1]} | {
        name: given[name]
        for name in ("kernel_shape", "strides", "dilations", "pads")
        if name in given
    }
    name = counted_average(graph, value, output, **window)
    graph.values[output] = value._replace(name=name, shape=graph.shape(output))


def lower_flat_norm(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower an InstanceNormalization; one of three axes, as a group norm has, to arithmetic."""
    value, output = graph.value(node.input[0]), node.output[0]
    scale, bias = (graph.plain(name) for name in node.input[1:])
    if len(value.shape) != 3:
        graph.copy(node, [value.name, scale, bias])
        return
    epsilon = np.array(attributes(node).get("epsilon", 1e-5), graph.dtype(output))
    centred = graph.emit("Sub", [value.name, reduced(graph, "ReduceMean", value, [2]).name])
    squares = value._replace(name=graph.emit("Mul", [centred, centred]))
    variance = reduced(graph, "ReduceMean", squares, [2]).name
    variance = graph.emit("Add", [variance, graph.constant(epsilon, f"{output}.epsilon")])
    name = graph.emit("Div", [centred, graph.emit("Sqrt", [variance])])
    columns = [graph.emit("Reshape", [each, graph.ints(1, -1, 1)]) for each in (scale, bias)]
    name = graph.emit("Mul", [name, columns[0]])
    name = graph.emit("Add", [name, columns[1]], output)
    graph.values[output] = value._replace(name=name)
