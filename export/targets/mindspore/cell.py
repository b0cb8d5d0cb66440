"""An ONNX graph as a MindSpore cell: one expression per node.

MindSpore compiles the Python source of `construct`, which is written here. A loop over a list of
layers would be unrolled by recursion, and that ends at a depth of 1000.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
import onnx
from mindspore import ops  # noqa: F401  for the source that is written
from onnx import defs, helper, inliner, numpy_helper

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.model import attributes, network_input, opset
from r2p_edge.export.graph.static import StaticGraph, static_graph

Pads = list[tuple[int, int]]
"""Elements before and after those of each axis."""


class _UnsupportedError(Exception):
    """A node that has no form here; its text says why."""


def cell_from_onnx(model: onnx.ModelProto, folder: Path) -> mindspore.nn.Cell:
    """A cell that computes what the model does.

    Args:
        model: with one input and one output of static shapes; may be changed by the call.
        folder: where the source of the cell is kept, which MindSpore reads when it compiles it.

    Raises:
        ModelError: nodes have no form in MindSpore; all are named.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    given = network_input(model).name
    graph = _Graph(static_graph(model), opset(model))
    graph.values[given] = "x"
    problems = []
    for node in graph.source.nodes:
        try:
            graph.add(node)
        except _UnsupportedError as reason:
            problems.append(f"{node.name or node.output[0]} ({node.op_type}: {reason})")
            # Others after it may have problems of their own.
            graph.values |= dict.fromkeys(node.output, "x")
    if problems:
        raise ModelError(
            f"MindSpore cannot be given {', '.join(problems)}; rewrite these nodes with plainer "
            "operators, or choose another target"
        )
    return graph.cell(model.graph.output[0].name, folder)


class _Graph:
    """The body of `construct` as it grows.

    Attributes:
        source: the ONNX graph.
        values: the Python expression of each ONNX tensor that is there already.
    """

    def __init__(self, source: StaticGraph, version: int) -> None:
        self._version = version
        self._lines: list[str] = []
        self._weights: list[mindspore.Parameter] = []
        self.source = source
        self.values: dict[str, str] = {}

    def add(self, node: onnx.NodeProto) -> None:
        """Appends what computes the node.

        Raises:
            _UnsupportedError: nothing does.
        """
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise _UnsupportedError("an operator that is not known here")
        open_ones = [n for n in (*node.input, *node.output) if n and n not in self.source.shapes]
        if open_ones:
            raise _UnsupportedError(f"the shape of {', '.join(open_ones)} is not fixed")
        found = OPERATORS[node.op_type](_Node(self, node, self._version))
        results = [found] if isinstance(found, str) else found
        if any(node.output[len(results) :]):
            raise _UnsupportedError("it has a second output")
        self.values |= {name: self.let(each) for name, each in zip(node.output, results)}

    def let(self, expression: str) -> str:
        """A variable with the value of the expression."""
        self._lines.append(f"y{len(self._lines)} = {expression}")
        return f"y{len(self._lines) - 1}"

    def value(self, name: str) -> str:
        """The expression of an ONNX tensor."""
        if name not in self.values:
            self.values[name] = self.weight(numpy_helper.to_array(self.source.constants[name]))
        return self.values[name]

    def weight(self, array: np.ndarray) -> str:
        """The expression of a constant."""
        name = f"weight{len(self._weights)}"
        tensor = mindspore.Tensor(np.ascontiguousarray(array).reshape(array.shape))
        self._weights.append(mindspore.Parameter(tensor, name=name, requires_grad=False))
        return f"self.{name}"

    def cell(self, result: str, folder: Path) -> mindspore.nn.Cell:
        """The cell that gives the ONNX tensor `result`."""
        source = folder / "network.py"
        lines = ["def construct(self, x):", *self._lines, f"return {self.value(result)}\n"]
        source.write_text("\n    ".join(lines), encoding="utf-8")
        # MindSpore looks names up in the module that the function says it is of.
        scope: dict[str, Any] = {"__name__": __name__}
        exec(compile("\n    ".join(lines), source, "exec"), scope)
        cell = type("Network", (mindspore.nn.Cell,), {"construct": scope["construct"]})()
        for weight in self._weights:
            setattr(cell, weight.name, weight)
        cell.set_train(False)
        return cell


class _Node:
    """A node, and what of it an expression needs.

    Attributes:
        given: its attributes, defaults included.
        names: of its inputs.
        outputs: their names.
        shape: of its first input.
        result: shape of its first output.
    """

    def __init__(self, graph: _Graph, node: onnx.NodeProto, version: int) -> None:
        schema = defs.get_schema(node.op_type, version)
        found = {n: each.default_value for n, each in schema.attributes.items()}
        defaults = onnx.NodeProto(attribute=[each for each in found.values() if each.name])
        self._shapes = graph.source.shapes
        self._constants = graph.source.constants
        self.graph = graph
        self.given: dict[str, Any] = attributes(defaults) | attributes(node)
        self.names = list(node.input)
        self.outputs = list(node.output)
        self.shape = self._shapes[node.input[0]]
        self.result = self._shapes[node.output[0]]

    @property
    def x(self) -> str:
        """The expression of its first input."""
        return self.input(0)

    def input(self, index: int) -> str:
        """The expression of an input."""
        return self.graph.value(self.names[index])

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def has(self, index: int) -> bool:
        return index < len(self.names) and self.names[index] != ""

    def array(self, index: int) -> np.ndarray:
        """A constant input.

        Raises:
            _UnsupportedError: it is computed.
        """
        if self.names[index] not in self._constants:
            raise _UnsupportedError(f"its input {self.names[index]} is not constant")
        return numpy_helper.to_array(self._constants[self.names[index]])

    def ints(self, index: int, default: Any = ()) -> list[int]:
        """Integers that are an input."""
        return self.array(index).reshape(-1).tolist() if self.has(index) else list(default)

    def padded(self, pads: Pads, fill: float = 0.0) -> str:
        """The expression of the first input with elements around it."""
        if not any(map(any, pads)):
            return self.x
        if fill == 0:
            return f"ops.Pad({tuple(pads)})({self.x})"
        amounts = tuple(amount for both in reversed(pads) for amount in both)
        weight = self.graph.weight(np.array(fill, np.float32))
        return f"ops.PadV3()({self.x}, {amounts}, {weight})"

    def part(self, places: dict[int, range]) -> str:
        """The expression of the elements of the first input at some places of some axes."""
        wanted = [places.get(axis, range(size)) for axis, size in enumerate(self.shape)]
        begin, end, step = zip(*((each.start, each.stop, each.step) for each in wanted))
        # Of what goes backwards to the first element; -1 would be the last.
        end = tuple(-size - 1 if stop < 0 else stop for stop, size in zip(end, self.shape))
        return f"ops.StridedSlice()({self.x}, {begin}, {end}, {step})"


class _Window:
    """The sliding window of a node, over all axes but the first two."""

    def __init__(self, node: _Node, kernel: tuple[int, ...]) -> None:
        given, rank = node.given, len(kernel)
        if rank not in (2, 3):
            raise _UnsupportedError(f"it slides over {rank} axes")
        self.kernel = kernel
        self.strides = tuple(given.get("strides", [1] * rank))
        self.dilations = tuple(given.get("dilations", [1] * rank))
        flat = given.get("pads", [0] * 2 * rank)
        self.pads: Pads = list(zip(flat[:rank], flat[rank:]))
        padding = given["auto_pad"]
        if padding.startswith("SAME"):
            ends = zip(node.shape[2:], node.result[2:], kernel, self.strides, self.dilations)
            totals = [max((out - 1) * s + (k - 1) * d + 1 - n, 0) for n, out, k, s, d in ends]
            self.pads = [(n // 2, n - n // 2) for n in totals]
            if padding == "SAME_LOWER":
                self.pads = [(after, before) for before, after in self.pads]


def _conv(node: _Node) -> str:
    outputs, _, *kernel = node.shape_of(node.names[1])
    window = _Window(node, tuple(kernel))
    rank, pads = len(kernel), tuple(amount for both in window.pads for amount in both)
    y = (
        f"ops.Conv{rank}D({outputs}, {window.kernel}, pad_mode='pad', pad={pads}, "
        f"stride={window.strides}, dilation={window.dilations}, group={node.given['group']})"
        f"({node.x}, {node.input(1)})"
    )
    return f"ops.BiasAdd('NC{'DHW'[-rank:]}')({y}, {node.input(2)})" if node.has(2) else y


def _max_pool(node: _Node) -> str:
    # Padded apart, as MindSpore's pools pad by themselves only as "same" does.
    return _pool(node, _Window(node, tuple(node.given["kernel_shape"])), "MaxPool", -math.inf)


def _average_pool(node: _Node) -> str:
    window = _Window(node, tuple(node.given["kernel_shape"]))
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
    return f"{y} * {node.graph.weight(factor)}"


def _pool(node: _Node, window: _Window, name: str, fill: float) -> str:
    if set(window.dilations) != {1} or node.given["ceil_mode"]:
        raise _UnsupportedError("it has dilations")
    x = node.padded([(0, 0), (0, 0), *window.pads], fill)
    name += "" if len(window.kernel) == 2 else "3D"
    return f"ops.{name}({window.kernel}, {window.strides}, 'valid')({x})"


def _batch_norm(node: _Node) -> str:
    if node.given["training_mode"]:
        raise _UnsupportedError("it is in training mode")
    scale, bias, mean, variance = (node.array(i).astype(np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + node.given["epsilon"])
    column = (-1, *(1,) * (len(node.shape) - 2))
    weights = [each.astype(np.float32).reshape(column) for each in (factor, bias - mean * factor)]
    return "{} * {} + {}".format(node.x, *map(node.graph.weight, weights))


def _instance_norm(node: _Node) -> str:
    axes, column = tuple(range(2, len(node.shape))), (-1, *(1,) * (len(node.shape) - 2))
    x = node.graph.let(f"{node.x} - ops.ReduceMean(True)({node.x}, {axes})")
    y = f"{x} / ops.Sqrt()(ops.ReduceMean(True)({x} * {x}, {axes}) + {node.given['epsilon']})"
    scale, bias = (f"ops.Reshape()({each}, {column})" for each in map(node.input, (1, 2)))
    return f"{y} * {scale} + {bias}"


def _reduction(node: _Node, name: str) -> str:
    axes = node.ints(1, node.given.get("axes", ()))
    if not axes and node.given.get("noop_with_empty_axes"):
        return node.x
    axes = axes or list(range(len(node.shape)))
    return f"ops.{name}({bool(node.given['keepdims'])})({node.x}, {tuple(axes)})"


def _global_pool(node: _Node) -> str:
    return f"ops.ReduceMean(True)({node.x}, {tuple(range(2, len(node.shape)))})"


def _gemm(node: _Node) -> str:
    given = node.given
    y = f"ops.MatMul({given['transA'] == 1}, {given['transB'] == 1})({node.x}, {node.input(1)})"
    y += f" * {given['alpha']}" if given["alpha"] != 1 else ""
    return f"{y} + {node.input(2)} * {given['beta']}" if node.has(2) else y


def _matmul(node: _Node) -> str:
    """Matrices without leading axes, with the same ones, or one matrix for all."""
    other = node.shape_of(node.names[1])
    if len(node.shape) >= 2 and len(other) == 2:
        rows = f"ops.Reshape()({node.x}, {(-1, node.shape[-1])})"
        return f"ops.Reshape()(ops.MatMul()({rows}, {node.input(1)}), {node.result})"
    if len(other) < 2 or node.shape[:-2] != other[:-2]:
        raise _UnsupportedError("its inputs broadcast")
    return f"ops.BatchMatMul()({node.x}, {node.input(1)})"


def _transpose(node: _Node) -> str:
    axes = node.given.get("perm", range(len(node.shape))[::-1])
    return f"ops.Transpose()({node.x}, {tuple(axes)})"


def _split(node: _Node) -> list[str]:
    axis, parts, end = node.given["axis"] % len(node.shape), [], 0
    for name in node.outputs:
        begin, end = end, end + node.shape_of(name)[axis]
        parts.append(node.part({axis: range(begin, end)}))
    return parts


def _slice(node: _Node) -> str:
    starts, ends = node.ints(1), node.ints(2)
    axes, steps = node.ints(3, range(len(starts))), node.ints(4, [1] * len(starts))
    places = {
        axis % len(node.shape): range(*slice(start, end, step).indices(node.shape[axis]))
        for axis, start, end, step in zip(axes, starts, ends, steps)
    }
    return node.part(places)


def _gather(node: _Node) -> str:
    axis = node.given["axis"] % len(node.shape)
    indices = node.graph.weight(node.array(1).astype(np.int64) % node.shape[axis])
    return f"ops.Gather()({node.x}, {indices}, {axis})"


def _pad(node: _Node) -> str:
    rank, amounts = len(node.shape), node.ints(1)
    if node.given["mode"] != "constant" or min(amounts) < 0:
        raise _UnsupportedError("it does more than to add a constant")
    half = len(amounts) // 2
    both = zip(amounts[:half], amounts[half:])
    found = {axis % rank: pair for axis, pair in zip(node.ints(3, range(rank)), both)}
    fill = float(node.array(2)) if node.has(2) else 0.0
    return node.padded([found.get(axis, (0, 0)) for axis in range(rank)], fill)


def _cast(node: _Node) -> str:
    name = np.dtype(helper.tensor_dtype_to_np_dtype(node.given["to"])).name
    return f"ops.Cast()({node.x}, mindspore.{name.replace('bool', 'bool_')})"


def _clip(node: _Node) -> str:
    y = f"ops.Maximum()({node.x}, {node.input(1)})" if node.has(1) else node.x
    return f"ops.Minimum()({y}, {node.input(2)})" if node.has(2) else y


def _reshape(node: _Node) -> str:
    """Whatever leaves the elements in their order."""
    return f"ops.Reshape()({node.x}, {node.result})"


def _template(text: str) -> _Operator:
    """Inputs stand as {0} and {1}, attributes by their names."""
    return lambda node: text.format(*map(node.graph.value, node.names), **node.given)


def _binary(name: str) -> _Operator:
    """Also of other numbers of inputs than two."""
    return lambda node: reduce(
        lambda one, other: f"ops.{name}()({one}, {other})", map(node.graph.value, node.names)
    )


def _concat(node: _Node) -> str:
    parts = ", ".join(map(node.graph.value, node.names))
    return f"ops.Concat({node.given['axis']})(({parts},))"


_Operator = Callable[[_Node], "str | list[str]"]
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
"""What each operator becomes; constants, and what depends on shapes alone, are computed before."""
