"""A node of an ONNX graph, as the expressions of MindSpore operators are written for it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import onnx
from onnx import defs, numpy_helper

from r2p_edge.export.graph.model import attributes
from r2p_edge.export.graph.static import StaticGraph

Pads = list[tuple[int, int]]
"""Elements before and after those of each axis."""


class UnsupportedError(Exception):
    """A node without a form in MindSpore; the text says why."""


class Body(Protocol):
    """The body of `construct`, to which nodes add lines and weights.

    Attributes:
        source: the ONNX graph.
    """

    source: StaticGraph

    def let(self, expression: str) -> str:
        """Add a variable with the value of the expression; return its name."""
        ...

    def value(self, name: str) -> str:
        """Return the expression of an ONNX tensor."""
        ...

    def weight(self, array: np.ndarray) -> str:
        """Return the expression of a constant."""
        ...


class Node:
    """A node, with the expressions of its inputs.

    Attributes:
        body: the code that it adds lines and weights to.
        given: attributes of the node, defaults included.
        names: names of its inputs.
        outputs: names of its outputs.
        shape: shape of its first input.
        result: shape of its first output.
    """

    def __init__(self, body: Body, node: onnx.NodeProto, version: int) -> None:
        schema = defs.get_schema(node.op_type, version)
        found = {n: each.default_value for n, each in schema.attributes.items()}
        defaults = onnx.NodeProto(attribute=[each for each in found.values() if each.name])
        self._shapes = body.source.shapes
        self._constants = body.source.constants
        self.body = body
        self.given: dict[str, Any] = attributes(defaults) | attributes(node)
        self.names = list(node.input)
        self.outputs = list(node.output)
        self.shape = self._shapes[node.input[0]]
        self.result = self._shapes[node.output[0]]

    @property
    def x(self) -> str:
        """Expression of the first input."""
        return self.input(0)

    def input(self, index: int) -> str:
        """Return the expression of an input."""
        return self.body.value(self.names[index])

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self._shapes[name]

    def has(self, index: int) -> bool:
        """Return whether an optional input is given."""
        return index < len(self.names) and self.names[index] != ""

    def array(self, index: int) -> np.ndarray:
        """Return a constant input.

        Raises:
            UnsupportedError: the input is computed.
        """
        if self.names[index] not in self._constants:
            raise UnsupportedError(f"its input {self.names[index]} is not constant")
        return numpy_helper.to_array(self._constants[self.names[index]])

    def ints(self, index: int, default: Any = ()) -> list[int]:
        """Return a constant input of integers, or the default if it is not given."""
        return self.array(index).reshape(-1).tolist() if self.has(index) else list(default)

    def padded(self, pads: Pads, fill: float = 0.0) -> str:
        """Return the expression of the first input with elements around it."""
        if not any(map(any, pads)):
            return self.x
        if fill == 0:
            return f"ops.Pad({tuple(pads)})({self.x})"
        amounts = tuple(amount for both in reversed(pads) for amount in both)
        weight = self.body.weight(np.array(fill, np.float32))
        return f"ops.PadV3()({self.x}, {amounts}, {weight})"

    def part(self, places: dict[int, range]) -> str:
        """Return the expression of a part of the first input: ranges of places, by axis."""
        wanted = [places.get(axis, range(size)) for axis, size in enumerate(self.shape)]
        begin, end, step = zip(*((each.start, each.stop, each.step) for each in wanted))
        # A range that goes backwards to the first element; -1 would be the last.
        end = tuple(-size - 1 if stop < 0 else stop for stop, size in zip(end, self.shape))
        return f"ops.StridedSlice()({self.x}, {begin}, {end}, {step})"


class WindowAttributes:
    """The window that a node slides over all axes but the first two.

    Attributes:
        kernel, strides, dilations: a number per axis.
        pads: elements around each axis.

    Raises:
        UnsupportedError: it slides over another number of axes than 2 or 3.
    """

    def __init__(self, node: Node, kernel: tuple[int, ...]) -> None:
        given, rank = node.given, len(kernel)
        if rank not in (2, 3):
            raise UnsupportedError(f"it slides over {rank} axes")
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
