"""Tensors of many axes, held in the at most four that 2-D runtimes have.

A video tensor (N, C, T, H, W) is held as images, (T*N, C, H, W): one axis of the held tensor may
run over several axes of the original one. Which of them are where is the value's layout. A
transposition only changes the layout; elements move where an operator needs another one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from r2p_edge.export.graph.conv2d.layout import (
    FRAMES,
    MAX_RANK,
    Layout,
    Shape,
    contiguous_layout,
    flat,
    held_dims,
    moving,
    order,
    outermost,
    refined,
    regrouped,
    sorting,
)
from r2p_edge.export.graph.static import StaticGraph


class LoweringError(Exception):
    """A node that has no form of at most four axes; its text says why."""


class Value(NamedTuple):
    """A tensor of the original model as the new one holds it.

    Attributes:
        name: of the tensor that holds it.
        shape: in the original model.
        layout: which of those axes are where.
    """

    name: str
    shape: Shape
    layout: Layout

    @property
    def dims(self) -> Shape:
        """Shape of the tensor that holds it."""
        return held_dims(self.layout, self.shape)


class FramesGraph:
    """Builds a model's form without tensors of more than four axes.

    Attributes:
        source: the original.
        opset: of both models.
        nodes, initializers: what was added so far.
        place: the original tensor that is being made; new names begin with it.
        values: the original's tensors by name, once there is a tensor that holds them.
        quantized: the nodes that dequantise weights of convolutions, by output.
    """

    def __init__(self, source: StaticGraph, opset: int) -> None:
        self.source = source
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.place = ""
        self.values: dict[str, Value] = {}
        self.quantized: dict[str, onnx.NodeProto] = {}
        self._names = set(source.types) | set(source.shapes)
        self._names |= {name for node in source.nodes for name in (*node.input, *node.output)}
        self._made: dict[object, str] = {}

    def emit(
        self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any
    ) -> str:
        """Adds a node and returns its output.

        Args:
            output: the original tensor that it gives. Without it, it has a name of its own, and a
                node that is there already serves again.
        """
        key = (operator, tuple(inputs), repr(sorted(attributes.items())))
        if not output and key in self._made:
            return self._made[key]
        name = output or self._fresh(f"{self.place}.{operator.lower()}")
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return self._made.setdefault(key, name)

    def copy(
        self,
        node: onnx.NodeProto,
        inputs: Sequence[str],
        layout: Layout | None = None,
        **attributes: Any,
    ) -> None:
        """Adds the original's node with other inputs.

        Args:
            layout: in which it gives its outputs; by default they have at most four axes.
            attributes: that change; None for one that goes.
        """
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        del changed.input[:], changed.attribute[:]
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

    def constant(self, value: np.ndarray, like: str) -> str:
        """The name of a constant; equal ones are stored once."""
        value = np.ascontiguousarray(value).reshape(np.shape(value))
        key = (value.dtype, value.shape, hashlib.sha256(value.tobytes()).digest())
        if key not in self._made:
            name = self._made[key] = self._fresh(like)
            self.initializers[name] = numpy_helper.from_array(value, name)
        return self._made[key]

    def array(self, name: str) -> np.ndarray | None:
        """The original's constant of that name."""
        tensor = self.source.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def shape(self, name: str) -> Shape:
        """Shape of an original tensor."""
        return self.source.shapes[name]

    def dtype(self, name: str) -> np.dtype[Any]:
        """Element type of an original tensor."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.source.types[name]))

    def feed(self, name: str) -> None:
        """Takes in an input of the model: one of more than four axes through a Reshape."""
        shape = self.shape(name)
        value = Value(name, shape, contiguous_layout(shape))
        if len(shape) > MAX_RANK:
            held = self._fresh(f"{name}.2d")
            value = value._replace(name=self.emit("Reshape", [name, self.ints(*value.dims)], held))
        self.values[name] = value

    def value(self, name: str) -> Value:
        """The original tensor `name`, constants included, as it is held."""
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
        """The tensor that holds an original one of at most four axes; "" for an absent one."""
        return self.value(name).name if name else ""

    # Layouts

    def relayout(self, value: Value, layout: Layout) -> Value:
        """The same value in another layout."""
        name, dims = self._reordered(value, order(layout))
        name = self._reshape(name, dims, held_dims(layout, value.shape))
        return Value(name, value.shape, layout)

    def frames(self, name: str) -> Value:
        """The tensor (N, C, T, H, W) as images (T*N, C, H, W)."""
        return self.relayout(self.value(name), FRAMES)

    def apart(self, value: Value, selected: Collection[int]) -> tuple[Value, list[int]]:
        """`value` with the selected axes apart from the others, and where it holds them."""
        layout = refined(value.layout, value.shape, selected)
        if layout is None:
            others = [axis for axis in range(len(value.shape)) if axis not in selected]
            layout = (tuple(others), tuple(sorted(selected)))
        held = [i for i, group in enumerate(layout) if not set(group).isdisjoint(selected)]
        return self.relayout(value, layout), held

    def outermost(self, value: Value, axis: int) -> tuple[Value, int, int]:
        """`value` with `axis` the outermost one of a held axis.

        Returns:
            The value, the held axis, and the number of elements along it for one step of `axis`.
        """
        found = outermost(value.layout, value.shape, axis)
        if found is None:
            value, (held,) = self.apart(value, [axis])
            found = held, 1
        return value, *found

    def reshaped(self, value: Value, shape: Shape, output: str = "") -> Value:
        """The value with its elements in the same order and another shape."""
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
        name = self._reshape(name, dims, held_dims(layout, shape), output)
        return Value(name, shape, layout)

    def operand(self, name: str, layout: Layout, shape: Shape) -> str:
        """A tensor that broadcasts against one of `shape` held in `layout` as `name` does."""
        own = self.shape(name)
        if not own:
            return self.plain(name)
        own = (1,) * (len(shape) - len(own)) + own
        # Axes that share a held axis broadcast only together.
        wide = {axis for group in layout if any(own[a] > 1 for a in group) for axis in group}
        full = tuple(shape[a] if a in wide else own[a] for a in range(len(shape)))
        array = self.array(name)
        if array is not None:
            array = np.broadcast_to(array.reshape(own), full).transpose(order(layout))
            return self.constant(array.reshape(held_dims(layout, full)), f"{name}.2d")
        value = self.reshaped(self.value(name), own)
        for axis, (have, want) in enumerate(zip(own, full)):
            value = self.tiled(value, axis, want // have)
        return self.relayout(value, layout).name

    def common_layout(self, names: Iterable[str], shape: Shape) -> Layout:
        """The layout in which tensors that broadcast to `shape` meet."""
        held = [self.value(name) for name in names if name and self.array(name) is None]
        held = [value for value in held if len(value.shape) == len(shape)]
        if not held:
            return contiguous_layout(shape)
        best = max(held, key=lambda value: (math.prod(value.shape), value.layout == FRAMES))
        return best.layout

    # Operators along axes

    def reduced(self, operator: str, value: Value, axes: Iterable[int], output: str = "") -> Value:
        """The value with the axes reduced to size 1 by a ReduceMean, ReduceMax, ..."""
        axes = set(axes)
        value, held = self.apart(value, set(moving(axes, value.shape)) or axes)
        if operator == "ReduceSum" or self.opset >= 18:
            name = self.emit(operator, [value.name, self.ints(*held)], output)
        else:
            name = self.emit(operator, [value.name], output, axes=held)
        return Value(name, _with(value.shape, dict.fromkeys(axes, 1)), value.layout)

    def sliced(
        self, value: Value, axis: int, start: int, step: int, count: int, output: str = ""
    ) -> Value:
        """`count` elements along the axis, from `start` on."""
        if (start, step, count) == (0, 1, value.shape[axis]):
            return value
        step = step if count > 1 else 1
        if step == 1:
            value, held, unit = self.outermost(value, axis)
        else:
            (value, (held,)), unit = self.apart(value, [axis]), 1
        end = (start + (count - 1) * step) * unit + (unit if step > 0 else -1)
        # Below 0 it would be counted from the end.
        end = end if end >= 0 else -value.dims[held] - 1
        bounds = [self.ints(number) for number in (start * unit, end, held, step)]
        name = self.emit("Slice", [value.name, *bounds], output)
        return Value(name, _with(value.shape, {axis: count}), value.layout)

    def padded(
        self,
        value: Value,
        amounts: dict[int, tuple[int, int]],
        fill: str = "",
        mode: str = "constant",
        output: str = "",
    ) -> Value:
        """The value with elements added on both sides of axes: {axis: (before, after)}."""
        amounts = {axis: both for axis, both in amounts.items() if any(both)}
        while amounts:
            places: dict[int, tuple[int, int]] = {}  # of axes that can be padded as they are held
            for axis in amounts:
                found = outermost(value.layout, value.shape, axis)
                if found is not None and (mode == "constant" or found[1] == 1):
                    places.setdefault(found[0], (axis, found[1]))
            if not places:
                axis = next(iter(amounts))
                value, (held,) = self.apart(value, [axis])
                places = {held: (axis, 1)}
            now = {axis: amounts.pop(axis) for axis, _ in places.values()}
            pads = [0] * (2 * len(value.layout))
            for held, (axis, unit) in places.items():
                pads[held], pads[held + len(value.layout)] = (unit * n for n in now[axis])
            inputs = [value.name, self.ints(*pads), *([fill] if fill else [])]
            name = self.emit("Pad", inputs, "" if amounts else output, mode=mode)
            sizes = {axis: value.shape[axis] + sum(both) for axis, both in now.items()}
            value = Value(name, _with(value.shape, sizes), value.layout)
        return value

    def tiled(self, value: Value, axis: int, repeats: int) -> Value:
        """The value repeated along the axis."""
        if repeats == 1:
            return value
        value, held, _ = self.outermost(value, axis)
        counts = [repeats if i == held else 1 for i in range(len(value.layout))]
        name = self.emit("Tile", [value.name, self.ints(*counts)])
        return Value(name, _with(value.shape, {axis: value.shape[axis] * repeats}), value.layout)

    def taken(self, value: Value, axis: int, indices: Sequence[int]) -> Value:
        """The elements at the given places along the axis, from as few slices as possible."""
        parts = [
            self.sliced(value, axis, piece.start, piece.step, len(piece))
            for piece in _progressions(indices)
        ]
        if len(parts) == 1:
            return parts[0]
        value, held, _ = self.outermost(value, axis)
        names = [self.relayout(part, value.layout).name for part in parts]
        name = self.emit("Concat", names, axis=held)
        return Value(name, _with(value.shape, {axis: len(indices)}), value.layout)

    def ints(self, *numbers: int) -> str:
        """The name of a constant int64 vector."""
        return self.constant(np.array(numbers, np.int64), f"int64.{'x'.join(map(str, numbers))}")

    def _reshape(self, name: str, dims: Shape, wanted: Shape, output: str = "") -> str:
        if dims == wanted:
            return name
        return self.emit("Reshape", [name, self.ints(*wanted)], output)

    def _reordered(self, value: Value, wanted: Iterable[int]) -> tuple[str, Shape]:
        """A tensor with the value's elements in the order of the given axes, and its shape."""
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

    def _fresh(self, like: str) -> str:
        name, count = like, 0
        while name in self._names:
            count += 1
            name = f"{like}.{count}"
        self._names.add(name)
        return name


def _with(shape: Shape, sizes: dict[int, int]) -> Shape:
    return tuple(sizes.get(axis, size) for axis, size in enumerate(shape))


def _progressions(indices: Iterable[int]) -> list[range]:
    """The indices as ascending ranges, each as long as it can be."""
    found: list[range] = []
    for index in indices:
        last = found[-1] if found else range(0)
        step = last.step if len(last) > 1 else index - last.start
        if last and step > 0 and index == last[-1] + step:
            found[-1] = range(last.start, index + 1, step)
        else:
            found.append(range(index, index + 1))
    return found
