"""Operators along the original axes of stored values, and broadcasting between values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from r2p_edge.export.graph.conv2d.builder import LoweredGraph, Value
from r2p_edge.export.graph.conv2d.layout import (
    IMAGES,
    Layout,
    contiguous_layout,
    moving,
    outermost,
    storage_order,
    stored_shape,
)
from r2p_edge.export.graph.model import Shape


def reduced(
    graph: LoweredGraph, operator: str, value: Value, axes: Iterable[int], output: str = ""
) -> Value:
    """Reduce axes to size 1 by a ReduceMean, ReduceMax, ..."""
    axes = set(axes)
    value, stored = graph.apart(value, set(moving(axes, value.shape)) or axes)
    source, last = value.name, output
    # MindSpore Lite 2.0 takes a maximum over the first two axes for at least 0.
    opposite = operator == "ReduceMax" and min(stored) < 2 and graph.is_signed()
    if opposite:
        operator, source, last = "ReduceMin", graph.emit("Neg", [source]), ""
    if operator == "ReduceSum" or graph.opset >= 18:
        name = graph.emit(operator, [source, graph.ints(*stored)], last)
    else:
        name = graph.emit(operator, [source], last, axes=stored)
    if opposite:
        name = graph.emit("Neg", [name], output)
    return Value(name, _resized(value.shape, dict.fromkeys(axes, 1)), value.layout)


def sliced(
    graph: LoweredGraph,
    value: Value,
    axis: int,
    start: int,
    step: int,
    count: int,
    output: str = "",
) -> Value:
    """Take `count` elements along the axis, from `start` on."""
    if (start, step, count) == (0, 1, value.shape[axis]):
        return value
    step = step if count > 1 else 1
    if step == 1:
        value, stored, unit = graph.outermost(value, axis)
    else:
        (value, (stored,)), unit = graph.apart(value, [axis]), 1
    end = (start + (count - 1) * step) * unit + (unit if step > 0 else -1)
    # ONNX counts a negative end from the end of the axis.
    end = end if end >= 0 else -value.dims[stored] - 1
    bounds = [graph.ints(number) for number in (start * unit, end, stored, step)]
    name = graph.emit("Slice", [value.name, *bounds], output)
    return Value(name, _resized(value.shape, {axis: count}), value.layout)


def padded(
    graph: LoweredGraph,
    value: Value,
    amounts: Mapping[int, tuple[int, int]],
    fill: str = "",
    mode: str = "constant",
    output: str = "",
) -> Value:
    """Add elements on both sides of axes.

    Args:
        amounts: numbers of elements (before, after), by axis.
        fill: name of the value to pad with; zero by default.
        mode: of the Pad operator.
    """
    left = {axis: both for axis, both in amounts.items() if any(both)}
    while left:
        # Axes that can be padded as they are stored, by stored axis, with their unit.
        places: dict[int, tuple[int, int]] = {}
        for axis in left:
            found = outermost(value.layout, value.shape, axis)
            if found is not None and (mode == "constant" or found[1] == 1):
                places.setdefault(found[0], (axis, found[1]))
        if not places:
            axis = next(iter(left))
            value, (stored,) = graph.apart(value, [axis])
            places = {stored: (axis, 1)}
        now = {axis: left.pop(axis) for axis, _ in places.values()}
        pads = [0] * (2 * len(value.layout))
        for stored, (axis, unit) in places.items():
            pads[stored], pads[stored + len(value.layout)] = (unit * n for n in now[axis])
        inputs = [value.name, graph.ints(*pads), *([fill] if fill else [])]
        name = graph.emit("Pad", inputs, "" if left else output, mode=mode)
        sizes = {axis: value.shape[axis] + sum(both) for axis, both in now.items()}
        value = Value(name, _resized(value.shape, sizes), value.layout)
    return value


def tiled(graph: LoweredGraph, value: Value, axis: int, repeats: int) -> Value:
    """Repeat the value along the axis."""
    if repeats == 1:
        return value
    value, stored, _ = graph.outermost(value, axis)
    counts = [repeats if i == stored else 1 for i in range(len(value.layout))]
    name = graph.emit("Tile", [value.name, graph.ints(*counts)])
    return Value(name, _resized(value.shape, {axis: value.shape[axis] * repeats}), value.layout)


def taken(graph: LoweredGraph, value: Value, axis: int, indices: Sequence[int]) -> Value:
    """Take the elements at the given indices along the axis, by as few slices as possible."""
    parts = [
        sliced(graph, value, axis, piece.start, piece.step, len(piece))
        for piece in _progressions(indices)
    ]
    if len(parts) == 1:
        return parts[0]
    value, stored, _ = graph.outermost(value, axis)
    names = [graph.relayout(part, value.layout).name for part in parts]
    name = graph.emit("Concat", names, axis=stored)
    return Value(name, _resized(value.shape, {axis: len(indices)}), value.layout)


def combined(graph: LoweredGraph, operator: str, parts: list[Value], output: str = "") -> Value:
    """Combine images by a binary operator; the first part must be the largest."""
    total, *others = [graph.relayout(part, IMAGES) for part in parts]
    for i, part in enumerate(others, 1):
        name = graph.emit(operator, [total.name, part.name], output if i == len(others) else "")
        total = total._replace(name=name)
    return total


def operand(graph: LoweredGraph, name: str, layout: Layout, shape: Shape) -> str:
    """Return a tensor that broadcasts to one of `shape` stored in `layout` as `name` does."""
    own = graph.shape(name)
    if not own:
        return graph.plain(name)
    own = (1,) * (len(shape) - len(own)) + own
    # Axes that share a stored axis broadcast only together.
    wide = {axis for group in layout if any(own[a] > 1 for a in group) for axis in group}
    full = tuple(shape[a] if a in wide else own[a] for a in range(len(shape)))
    array = graph.array(name)
    if array is not None:
        array = np.broadcast_to(array.reshape(own), full).transpose(storage_order(layout))
        return graph.constant(array.reshape(stored_shape(layout, full)), f"{name}.2d")
    value = graph.reshaped(graph.value(name), own)
    for axis, (have, want) in enumerate(zip(own, full)):
        value = tiled(graph, value, axis, want // have)
    return graph.relayout(value, layout).name


def common_layout(graph: LoweredGraph, names: Iterable[str], shape: Shape) -> Layout:
    """Return the layout in which to combine tensors that broadcast to `shape`."""
    values = [graph.value(name) for name in names if name and graph.array(name) is None]
    values = [value for value in values if len(value.shape) == len(shape)]
    if not values:
        return contiguous_layout(shape)
    best = max(values, key=lambda value: (math.prod(value.shape), value.layout == IMAGES))
    return best.layout


def _resized(shape: Shape, sizes: Mapping[int, int]) -> Shape:
    return tuple(sizes.get(axis, size) for axis, size in enumerate(shape))


def _progressions(indices: Iterable[int]) -> list[range]:
    """Split indices into ascending ranges, each as long as possible."""
    found: list[range] = []
    for index in indices:
        last = found[-1] if found else range(0)
        step = last.step if len(last) > 1 else index - last.start
        if last and step > 0 and index == last[-1] + step:
            found[-1] = range(last.start, index + 1, step)
        else:
            found.append(range(index, index + 1))
    return found
