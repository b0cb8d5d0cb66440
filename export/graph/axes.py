"""Axes of tensors, followed through the nodes of an ONNX model that move numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.export.graph.model import attributes, network_input, without_weights

try:
    import onnx
    from onnx import numpy_helper
    from onnx.inliner import inline_local_functions
except ImportError as error:
    raise missing("onnx") from error

Axes = tuple[frozenset[int], ...]
"""Marks of each axis of a tensor: the axes that it came from."""

WEIGHTED = frozenset(
    {
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DynamicQuantizeMatMul",
        "Einsum",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "NhwcFusedConv",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
    }
)
"""Operators that multiply by weights."""

CONVOLUTIONS = frozenset({each for each in WEIGHTED if "Conv" in each})

REGROUPING = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that leave all numbers in their order."""

SAMPLING = frozenset(
    {
        "DequantizeLinear",
        "Dropout",
        "DynamicQuantizeLinear",
        "Expand",
        "Identity",
        "Pad",
        "QuantizeLinear",
        "Resize",
        "ReverseSequence",
        "Tile",
        "Upsample",
    }
)
"""Operators that repeat, leave out or mix numbers along axes that stay as they are."""

_ELEMENTWISE = frozenset(
    {
        "Abs",
        "Add",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Div",
        "Exp",
        "InstanceNormalization",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "Max",
        "Mean",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "Relu",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Sub",
        "Sum",
        "Tanh",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "MaxPool",
    }
)


class Follower:
    """A model with all its shapes, and where the axes of its tensors go.

    Args:
        model: it is left unchanged.
        sizes: of the input's axes, where the model leaves them open.
    """

    def __init__(self, model: onnx.ModelProto, sizes: Sequence[int] | None = None) -> None:
        light = without_weights(model)
        if light.functions:
            light = inline_local_functions(light)
        self.input = network_input(light).name
        if sizes is not None:
            (value,) = (each for each in light.graph.input if each.name == self.input)
            _fix(value, sizes)
        del light.graph.value_info[:]  # shapes that were inferred with other sizes
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
        graph = light.graph
        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self.makers = {name: node for node in graph.node for name in node.output}
        self._weights = {each.name: each for each in graph.initializer}
        self.shapes: dict[str, tuple[int, ...]] = {
            each.name: tuple(each.dims) for each in graph.initializer
        }
        for value in (*graph.input, *graph.value_info, *graph.output):
            shape = value.type.tensor_type.shape.dim
            known = value.type.tensor_type.HasField("shape")
            if known and all(axis.HasField("dim_value") for axis in shape):
                self.shapes[value.name] = tuple(axis.dim_value for axis in shape)

    def constant(self, name: str) -> np.ndarray | None:
        """Return a small constant; None for a large one, and for what is computed."""
        for _ in range(6):  # a constant may be reshaped or cast
            shape = self.shapes.get(name)
            if name in self._weights:
                tensor = self._weights[name]
                held = tensor.raw_data or prod(tensor.dims) <= _held(tensor)
                return numpy_helper.to_array(tensor) if held else None
            maker = self.makers.get(name)
            if maker is None:
                return None
            if maker.op_type == "Constant":
                given = attributes(maker)
                if "value" in given:
                    return np.asarray(numpy_helper.to_array(given["value"]))
                found = [given[key] for key in given if key.startswith("value_")]
                return np.asarray(found[0]) if found and not isinstance(found[0], str) else None
            if maker.op_type in REGROUPING and shape is not None:
                inner = self.constant(maker.input[0])
                return None if inner is None else inner.reshape(shape)
            if maker.op_type not in ("Cast", "Identity"):
                return None
            name = maker.input[0]
        return None

    def derived(self) -> set[str]:
        """Return the names of all tensors that are made of the input."""
        found = {self.input}
        for node in self.nodes:
            if found.intersection(node.input):
                found.update(results(node))
        return found

    def marks(self, start: dict[str, Axes], stop: Iterable[str] = ()) -> dict[str, Axes]:
        """Return the marks of all tensors that can be followed from those of some.

        Args:
            start: marks by name.
            stop: operators behind which nothing is followed.
        """
        found, stops = dict(start), frozenset(stop)
        for node in self.nodes:
            ends = [name for name in node.input if name in found]
            if not ends or node.op_type in stops or found.keys() & set(node.output):
                continue
            after = {self.after(node, name, found[name]) for name in ends}
            if len(after) == 1 and (axes := after.pop()) is not None:
                found.update((name, axes) for name in results(node) if name)
        return found

    def after(self, node: onnx.NodeProto, name: str, axes: Axes) -> Axes | None:
        """Return the marks of a node's outputs from those of its input; None if unknown."""
        kind, first = node.op_type, node.input[0] == name
        result = self.shapes.get(node.output[0])
        if kind in _ELEMENTWISE or (kind in SAMPLING and first):
            return axes if result is None or len(result) == len(axes) else None
        if not first:
            return None
        if kind == "Transpose":
            perm = attributes(node).get("perm") or list(range(len(axes)))[::-1]
            return tuple(axes[axis] for axis in perm)
        if kind in REGROUPING:
            own = self.shapes.get(name)
            return None if own is None or result is None else _regrouped(axes, own, result)
        if kind == "Gather":
            return self._gathered(node, axes)
        return self._reduced(node, axes) if kind.startswith("Reduce") else None

    def numbers(self, node: onnx.NodeProto, name: str, place: int) -> list[int] | None:
        """Return the whole numbers of a node's attribute, or of that input in newer opsets."""
        given = attributes(node).get(name)
        if given is not None:
            return [int(each) for each in np.atleast_1d(given)]
        if len(node.input) <= place or not node.input[place]:
            return None
        found = self.constant(node.input[place])
        return None if found is None else [int(each) for each in np.atleast_1d(found)]

    def _gathered(self, node: onnx.NodeProto, axes: Axes) -> Axes | None:
        places = self.constant(node.input[1])
        axis = int(attributes(node).get("axis", 0)) % len(axes)
        if places is None or places.ndim > 1:
            return None
        return axes if places.ndim == 1 else (*axes[:axis], *axes[axis + 1 :])

    def _reduced(self, node: onnx.NodeProto, axes: Axes) -> Axes | None:
        if attributes(node).get("keepdims", 1):
            return axes
        gone = self.numbers(node, "axes", 1)
        if gone is None:
            return None
        rest = {axis % len(axes) for axis in gone}
        return tuple(each for axis, each in enumerate(axes) if axis not in rest)


def results(node: onnx.NodeProto) -> list[str]:
    """Return the outputs of a node that are made of its input's numbers.

    The scale of a dynamic quantisation moves with the input, and is none of it.
    """
    dynamic = node.op_type == "DynamicQuantizeLinear"
    return list(node.output[:1] if dynamic else node.output)


def _held(tensor: onnx.TensorProto) -> int:
    """Return how many numbers a tensor holds outside `raw_data`."""
    return max(
        len(getattr(tensor, f"{kind}_data")) for kind in ("float", "int32", "int64", "double")
    )


def _fix(value: onnx.ValueInfoProto, sizes: Sequence[int]) -> None:
    axes = value.type.tensor_type.shape.dim
    for axis, size in zip(axes, sizes, strict=False):
        if not axis.HasField("dim_value"):
            axis.dim_value = size


def _regrouped(axes: Axes, old: Sequence[int], new: Sequence[int]) -> Axes | None:
    """Return the marks of a tensor's axes after numbers in the same order got other axes."""
    if len(old) != len(axes) or prod(old) != prod(new):
        return None
    found: list[frozenset[int]] = [frozenset()] * len(new)
    for olds, news in _groups(old, new):
        marks = frozenset().union(*(axes[i] for i in olds if old[i] != 1))
        for j in news:
            found[j] = marks if new[j] != 1 else frozenset()
    return tuple(found)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the smallest runs of old and new axes that have the same product."""
    i = j = 0
    while i < len(old) or j < len(new):
        olds, news, left, right = [], [], 1, 1
        while True:
            if left <= right and i < len(old):
                left *= old[i]
                olds.append(i)
                i += 1
            elif j < len(new):
                right *= new[j]
                news.append(j)
                j += 1
            else:
                break
            if left == right and olds and news:
                break
        yield olds, news
