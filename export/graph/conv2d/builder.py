"""A graph whose tensors of rank > 4 are represented by tensors of rank <= 4.

Runtimes that have only 2-D operators take no higher rank. A video tensor (N, C, T, H, W) is
stored as images, (T*N, C, H, W): one axis of the stored tensor may run over several axes of the
original one. The value's layout says which of them are where. A transposition only changes the
layout; elements move only when an operator needs another layout.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from r2p_edge.export.graph.conv2d.layout import (
    IMAGES,
    MAX_RANK,
    Layout,
    contiguous_layout,
    flat,
    moving,
    outermost,
    refined,
    regrouped,
    sorting,
    storage_order,
    stored_shape,
)
from r2p_edge.export.graph.conv2d.nodes import NodeStore
from r2p_edge.export.graph.model import Shape
from r2p_edge.export.graph.static import StaticGraph


class LoweringError(Exception):
    """A node that has no form of rank <= 4; the message says why."""


class Value(NamedTuple):
    """A tensor of the original model, as the new model stores it.

    Attributes:
        name: of the tensor that stores it.
        shape: in the original model.
        layout: the original axes that each stored axis runs over.
    """

    name: str
    shape: Shape
    layout: Layout

    @property
    def dims(self) -> Shape:
        """Shape of the tensor that stores it."""
        return stored_shape(self.layout, self.shape)


class LoweredGraph(NodeStore):
    """A model under construction that has the results of `source` without tensors of rank > 4.

    Attributes:
        source: the original.
        opset: of both models.
        entries: layouts of the inputs of rank > 4, by name.
        values: the original's tensors that are stored already, by name.
        quantized: the nodes that dequantise weights of convolutions, by output.
    """

    def __init__(self, source: StaticGraph, opset: int) -> None:
        names = (name for node in source.nodes for name in (*node.input, *node.output))
        super().__init__({*source.types, *source.shapes, *names})
        self.source = source
        self.opset = opset
        self.entries: dict[str, Layout] = {}
        self.values: dict[str, Value] = {}
        self.quantized: dict[str, onnx.NodeProto] = {}

    # Tensors of the original

    def array(self, name: str) -> np.ndarray | None:
        """Return the original's constant of that name, if it is one."""
        tensor = self.source.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def shape(self, name: str) -> Shape:
        """Return the shape of an original tensor."""
        return self.source.shapes[name]

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the element type of an original tensor."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.source.types[name]))

    def is_signed(self) -> bool:
        """Return whether the original tensor that is being computed can be negated."""
        return self.dtype(self.place).kind in "fi"

    def feed(self, name: str) -> None:
        """Add an input of the model; one of rank > 4 is reshaped where it is read."""
        shape = self.shape(name)
        if len(shape) > MAX_RANK:
            self.entries[name] = contiguous_layout(shape)
        else:
            self.values[name] = Value(name, shape, contiguous_layout(shape))

    def value(self, name: str) -> Value:
        """Return the original tensor `name`, which may be a constant, as it is stored.

        Raises:
            LoweringError: it is a quantised weight, which only convolutions read.
        """
        if name in self.entries and name not in self.values:
            shape, layout = self.shape(name), self.entries[name]
            dims = self.ints(*stored_shape(layout, shape))
            stored = self.emit("Reshape", [name, dims], self.fresh(f"{name}.2d"))
            self.values[name] = Value(stored, shape, layout)
        if name not in self.values:
            if name not in self.source.constants:
                raise LoweringError(f"its input {name} is a quantised weight")
            shape = self.shape(name)
            value = Value(name, shape, contiguous_layout(shape))
            if len(shape) > MAX_RANK:
                array = numpy_helper.to_array(self.source.constants[name]).reshape(value.dims)
                value = value._replace(name=self.constant(array, f"{name}.2d"))
            else:
                self.initializers[name] = self.source.constants[name]
            self.values[name] = value
        return self.values[name]

    def plain(self, name: str) -> str:
        """Return the name of the tensor that stores one of rank <= 4; "" for an absent input."""
        return self.value(name).name if name else ""

    def copy(
        self,
        node: onnx.NodeProto,
        inputs: Sequence[str],
        layout: Layout | None = None,
        **attributes: Any,
    ) -> None:
        """Add the original's node with other inputs.

        Args:
            layout: of its outputs; by default they have rank <= 4.
            attributes: changed ones; None removes one.
        """
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        del changed.input[:], changed.attribute[:]
        # MindSpore Lite takes a node for another whose output has its name.
        changed.name = next(filter(None, node.output))
        changed.input.extend(inputs)
        changed.attribute.extend(each for each in node.attribute if each.name not in attributes)
        changed.attribute.extend(
            helper.make_attribute(name, value)
            for name, value in attributes.items()
            if value is not None
        )
        self.nodes.append(changed)
        for name in filter(None, node.output):
            shape = self.shape(name)
            self.values[name] = Value(name, shape, layout or contiguous_layout(shape))

    # Layouts

    def relayout(self, value: Value, layout: Layout) -> Value:
        """Return the value in another layout."""
        name, dims = self._reordered(value, storage_order(layout))
        name = self._reshape(name, dims, stored_shape(layout, value.shape))
        return Value(name, value.shape, layout)

    def images(self, name: str) -> Value:
        """Return the original tensor (N, C, T, H, W) as images (T*N, C, H, W)."""
        return self.relayout(self.value(name), IMAGES)

    def apart(self, value: Value, selected: Collection[int]) -> tuple[Value, list[int]]:
        """Store the selected axes apart from the others; return the value and the stored axes."""
        layout = refined(value.layout, value.shape, selected)
        if layout is None:
            others = [axis for axis in range(len(value.shape)) if axis not in selected]
            layout = (tuple(others), tuple(sorted(selected)))
        stored = [i for i, group in enumerate(layout) if not set(group).isdisjoint(selected)]
        return self.relayout(value, layout), stored

    def outermost(self, value: Value, axis: int) -> tuple[Value, int, int]:
        """Store `axis` as the outermost one of a stored axis.

        Returns:
            The value, the stored axis, and the number of its elements in one step of `axis`.
        """
        found = outermost(value.layout, value.shape, axis)
        if found is None:
            value, (stored,) = self.apart(value, [axis])
            found = stored, 1
        return value, *found

    def reshaped(self, value: Value, shape: Shape, output: str = "") -> Value:
        """Return the value with its elements in the same order and another shape."""
        if len(shape) <= MAX_RANK:
            name, dims = self._reordered(value, range(len(value.shape)))
            name = self._reshape(name, dims, shape, output)
            return Value(name, shape, contiguous_layout(shape))
        old, new = moving(range(len(value.shape)), value.shape), moving(range(len(shape)), shape)
        if [value.shape[axis] for axis in old] == [shape[axis] for axis in new]:
            moved = dict(zip(old, new))
            groups = [tuple(moved[a] for a in group if a in moved) for group in value.layout]
            ones = tuple(axis for axis in range(len(shape)) if shape[axis] == 1)
            layout = (ones + groups[0], *groups[1:]) if groups else (ones,)
            return Value(value.name, shape, layout)
        layout = contiguous_layout(shape)
        name, dims = self._reordered(value, range(len(value.shape)))
        name = self._reshape(name, dims, stored_shape(layout, shape), output)
        return Value(name, shape, layout)

    def _reshape(self, name: str, dims: Shape, wanted: Shape, output: str = "") -> str:
        if dims == wanted:
            return name
        return self.emit("Reshape", [name, self.ints(*wanted)], output)

    def _reordered(self, value: Value, wanted: Iterable[int]) -> tuple[str, Shape]:
        """Return a tensor with the elements in the order of the given axes, and its shape."""
        name, dims, shape = value.name, value.dims, value.shape
        goal = moving(wanted, shape)
        groups = [moving(group, shape) for group in value.layout]
        while flat(groups) != goal:
            permutation = sorting(groups, goal)
            if flat(groups[i] for i in permutation) != goal:
                groups, permutation = regrouped(flat(groups), goal)
                sizes = tuple(math.prod(shape[axis] for axis in group) for group in groups)
                name, dims = self._reshape(name, dims, sizes), sizes
            name = self.emit("Transpose", [name], perm=permutation)
            dims = tuple(dims[i] for i in permutation)
            groups = [groups[i] for i in permutation]
        return name, dims
