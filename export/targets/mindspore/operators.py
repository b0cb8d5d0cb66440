"""The MindSpore expression of each ONNX operator."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np
from onnx import helper

from r2p_edge.export.targets.mindspore.node import Node, UnsupportedError, WindowAttributes


def _conv(node: Node) -> str:
    outputs, _, *kernel = node.shape_of(node.names[1])
    window = WindowAttributes(node, tuple(kernel))
    rank, pads = len(kernel), tuple(amount for both in window.pads for amount in both)
    y = (
        f"ops.Conv{rank}D({outputs}, {window.kernel}, pad_mode='pad', pad={pads}, "
        f"stride={window.strides}, dilation={window.dilations}, group={node.given['group']})"
        f"({node.x}, {node.input(1)})"
    )
    return f"ops.BiasAdd('NC{'DHW'[-rank:]}')({y}, {node.input(2)})" if node.has(2) else y


def _max_pool(node: Node) -> str:
    # Padded before, as MindSpore's own pools pad only as "same" does.
    return _pool(
        node, WindowAttributes(node, tuple(node.given["kernel_shape"])), "MaxPool", -math.inf
    )


def _average_pool(node: Node) -> str:
    window = WindowAttributes(node, tuple(node.given["kernel_shape"]))
    y = _pool(node, window, "AvgPool", 0.0)
    if node.given["count_include_pad"] or not any(map(any, window.pads)):
        return y
    # A mean over window and padding becomes one over the window alone.
    factor = np.ones((1, 1), np.float32)
    axes = zip(node.shape[2:], node.result[2:], window.kernel, window.strides, window.pads)
    for size, out, k, stride, (before, _) in axes:
        starts = np.arange(out) * stride - before
        counts = np.minimum(starts + k, size) - np.maximum(starts, 0)
        factor = factor[..., None] * (k / np.maximum(counts, 1)).astype(np.float32)
    return f"{y} * {node.body.weight(factor)}"


def _pool(node: Node, window: WindowAttributes, name: str, fill: float) -> str:
    if set(window.dilations) != {1} or node.given["ceil_mode"]:
        raise UnsupportedError("it has dilations")
    x = node.padded([(0, 0), (0, 0), *window.pads], fill)
    name += "" if len(window.kernel) == 2 else "3D"
    return f"ops.{name}({window.kernel}, {window.strides}, 'valid')({x})"


def _batch_norm(node: Node) -> str:
    if node.given["training_mode"]:
        raise UnsupportedError("it is in training mode")
    scale, bias, mean, variance = (node.array(i).astype(np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + node.given["epsilon"])
    column = (-1, *(1,) * (len(node.shape) - 2))
    weights = [each.astype(np.float32).reshape(column) for each in (factor, bias - mean * factor)]
    return "{} * {} + {}".format(node.x, *map(node.body.weight, weights))


def _instance_norm(node: Node) -> str:
    axes, column = tuple(range(2, len(node.shape))), (-1, *(1,) * (len(node.shape) - 2))
    x = node.body.let(f"{node.x} - ops.ReduceMean(True)({node.x}, {axes})")
    y = f"{x} / ops.Sqrt()(ops.ReduceMean(True)({x} * {x}, {axes}) + {node.given['epsilon']})"
    scale, bias = (f"ops.Reshape()({each}, {column})" for each in map(node.input, (1, 2)))
    return f"{y} * {scale} + {bias}"


def _reduction(node: Node, name: str) -> str:
    axes = node.ints(1, node.given.get("axes", ()))
    if not axes and node.given.get("noop_with_empty_axes"):
        return node.x
    axes = axes or list(range(len(node.shape)))
    return f"ops.{name}({bool(node.given['keepdims'])})({node.x}, {tuple(axes)})"


def _global_pool(node: Node) -> str:
    return f"ops.ReduceMean(True)({node.x}, {tuple(range(2, len(node.shape)))})"


def _gemm(node: Node) -> str:
    given = node.given
    y = f"ops.MatMul({given['transA'] == 1}, {given['transB'] == 1})({node.x}, {node.input(1)})"
    y += f" * {given['alpha']}" if given["alpha"] != 1 else ""
    return f"{y} + {node.input(2)} * {given['beta']}" if node.has(2) else y


def _matmul(node: Node) -> str:
    """Return a product: no leading axes, the same ones in both inputs, or one matrix for all."""
    other = node.shape_of(node.names[1])
    if len(node.shape) >= 2 and len(other) == 2:
        rows = f"ops.Reshape()({node.x}, {(-1, node.shape[-1])})"
        return f"ops.Reshape()(ops.MatMul()({rows}, {node.input(1)}), {node.result})"
    if len(other) < 2 or node.shape[:-2] != other[:-2]:
        raise UnsupportedError("its inputs broadcast")
    return f"ops.BatchMatMul()({node.x}, {node.input(1)})"


def _transpose(node: Node) -> str:
    axes = node.given.get("perm", range(len(node.shape))[::-1])
    return f"ops.Transpose()({node.x}, {tuple(axes)})"


def _split(node: Node) -> list[str]:
    axis, parts, end = node.given["axis"] % len(node.shape), [], 0
    for name in node.outputs:
        begin, end = end, end + node.shape_of(name)[axis]
        parts.append(node.part({axis: range(begin, end)}))
    return parts


def _slice(node: Node) -> str:
    starts, ends = node.ints(1), node.ints(2)
    axes, steps = node.ints(3, range(len(starts))), node.ints(4, [1] * len(starts))
    places = {
        axis % len(node.shape): range(*slice(start, end, step).indices(node.shape[axis]))
        for axis, start, end, step in zip(axes, starts, ends, steps)
    }
    return node.part(places)


def _gather(node: Node) -> str:
    axis = node.given["axis"] % len(node.shape)
    indices = node.body.weight(node.array(1).astype(np.int64) % node.shape[axis])
    return f"ops.Gather()({node.x}, {indices}, {axis})"


def _pad(node: Node) -> str:
    rank, amounts = len(node.shape), node.ints(1)
    if node.given["mode"] != "constant" or min(amounts) < 0:
        raise UnsupportedError("it does more than to add a constant")
    half = len(amounts) // 2
    both = zip(amounts[:half], amounts[half:])
    found = {axis % rank: pair for axis, pair in zip(node.ints(3, range(rank)), both)}
    fill = float(node.array(2)) if node.has(2) else 0.0
    return node.padded([found.get(axis, (0, 0)) for axis in range(rank)], fill)


def _cast(node: Node) -> str:
    name = np.dtype(helper.tensor_dtype_to_np_dtype(node.given["to"])).name
    return f"ops.Cast()({node.x}, mindspore.{name.replace('bool', 'bool_')})"


def _clip(node: Node) -> str:
    y = f"ops.Maximum()({node.x}, {node.input(1)})" if node.has(1) else node.x
    return f"ops.Minimum()({y}, {node.input(2)})" if node.has(2) else y


def _reshape(node: Node) -> str:
    """Return the form of every operator that leaves the elements in their order."""
    return f"ops.Reshape()({node.x}, {node.result})"


def _template(text: str) -> _Operator:
    """Return an operator from a text, with inputs as {0} and {1} and attributes by name."""
    return lambda node: text.format(*map(node.body.value, node.names), **node.given)


def _binary(name: str) -> _Operator:
    """Return an operator of two inputs, applied in turn to any number of them."""
    return lambda node: reduce(
        lambda one, other: f"ops.{name}()({one}, {other})", map(node.body.value, node.names)
    )


def _concat(node: Node) -> str:
    parts = ", ".join(map(node.body.value, node.names))
    return f"ops.Concat({node.given['axis']})(({parts},))"


_Operator = Callable[[Node], "str | list[str]"]
_SAME_SHAPE = ("Abs", "Erf", "Exp", "Log", "Neg", "Sigmoid", "Softplus", "Sqrt")
_RESHAPES = ("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_BINARY = {"Max": "Maximum", "Min": "Minimum", "Sum": "Add"}
_BINARY |= {name: name for name in ("Add", "Div", "Mul", "Pow", "Sub")}
_GATE = "ops.Minimum()(ops.Maximum()({} * {} + {}, 0.0), 1.0)"
_SLOPES = "ops.ReLU()({0}) + ops.Minimum()({0}, 0.0) * "

OPERATORS: dict[str, _Operator] = {
    **{name: _template(f"ops.{name}()({{0}})") for name in _SAME_SHAPE},
    **dict.fromkeys(_RESHAPES, _reshape),
    **{name: _binary(operator) for name, operator in _BINARY.items()},
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "HardSigmoid": _template(_GATE.format("{0}", "{alpha}", "{beta}")),
    "HardSwish": _template("{0} * " + _GATE.format("{0}", 1 / 6, 0.5)),
    "InstanceNormalization": _instance_norm,
    "LeakyRelu": _template(_SLOPES + "{alpha}"),
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "PRelu": _template(_SLOPES + "{1}"),
    "Pad": _pad,
    "ReduceMax": lambda node: _reduction(node, "ReduceMax"),
    "ReduceMean": lambda node: _reduction(node, "ReduceMean"),
    "ReduceMin": lambda node: _reduction(node, "ReduceMin"),
    "ReduceSum": lambda node: _reduction(node, "ReduceSum"),
    "Relu": _template("ops.ReLU()({0})"),
    "Slice": _slice,
    "Softmax": _template("ops.Softmax({axis})({0})"),
    "Split": _split,
    # MindSpore's own is off by up to 1e-4.
    "Tanh": _template("ops.Sigmoid()({0} * 2.0) * 2.0 - 1.0"),
    "Transpose": _transpose,
}
"""Function that writes the expression of a node, by operator.

Constants, and nodes that depend on shapes alone, are computed before.
"""
