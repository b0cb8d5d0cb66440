"""Convolutions and pools over T, H and W, as 2-D ones over slices of the frames.

For one tap, a place in the window along T, the 2-D operator runs on all frames that the tap reads.
The results of the taps are then added, or compared, frame by frame. Reading the taps side by side
instead, as more channels of one convolution, takes copies that cost more than the additions: it
makes R(2+1)D-18 slower by a quarter in ONNX Runtime and by a seventh in OpenVINO.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import onnx

from r2p_edge.export.graph.conv2d.builder import FramesGraph, LoweringError, Value
from r2p_edge.export.graph.conv2d.layout import FRAMES, Shape
from r2p_edge.export.graph.static import attributes

T = 2
"""The axis of time in (N, C, T, H, W)."""

Triple = tuple[int, int, int]


class Window(NamedTuple):
    """A sliding window over T, H and W; `before` and `after` are its paddings."""

    kernel: Triple
    strides: Triple
    dilations: Triple
    before: Triple
    after: Triple

    def in_space(self) -> dict[str, Any]:
        """The attributes of the 2-D operator."""
        found: dict[str, Any] = {
            "kernel_shape": list(self.kernel[1:]),
            "strides": list(self.strides[1:]),
            "pads": [*self.before[1:], *self.after[1:]],
        }
        # An AveragePool may not have them before opset 19.
        if self.dilations[1:] != (1, 1):
            found["dilations"] = list(self.dilations[1:])
        return found

    def is_in_space(self) -> bool:
        """Whether it does anything over H and W."""
        still = Window((1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0), (0, 0, 0))
        return self.in_space() != still.in_space()

    def frames(self, place: int) -> list[int]:
        """Indices of the frames, some of them in the padding, that one place in time reads."""
        first = place * self.strides[0] - self.before[0]
        return [first + k * self.dilations[0] for k in range(self.kernel[0])]

    def taps(self, frames: int, places: int) -> list[Tap]:
        """The taps that read a frame at all, of `frames` in and `places` out.

        Raises:
            LoweringError: there are none.
        """
        stride = self.strides[0]
        taps = []
        for k, first in enumerate(self.frames(0)):
            start = max(0, -(first // stride))
            stop = min(places, (frames - 1 - first) // stride + 1)
            if start < stop:
                taps.append(Tap(k, first + start * stride, start, stop))
        if not taps:
            raise LoweringError("all it reads is padding")
        return taps


class Tap(NamedTuple):
    """What one tap of a window reads: at the places [start, stop), frames from `first` on."""

    position: int
    first: int
    start: int
    stop: int


def convolution(graph: FramesGraph, node: onnx.NodeProto) -> None:
    """A Conv of constant weight: a sum over its taps."""
    data, weight, output = node.input[0], node.input[1], node.output[0]
    shape, kernel = graph.shape(output), graph.shape(weight)
    window = _window(graph, node, kernel[2:])
    x = graph.frames(data)
    taps = window.taps(x.shape[T], shape[T])
    bias = graph.plain(node.input[2]) if len(node.input) > 2 else ""
    group = attributes(node).get("group", 1)
    # Frames are cut where they are smaller: before the convolution, or after it.
    cut_first = math.prod(x.dims[1:]) <= math.prod(shape[i] for i in (1, 3, 4))

    def part(tap: Tap, bias: str, name: str) -> Value:
        stride, count = window.strides[0], tap.stop - tap.start
        offset, phase = divmod(tap.first, stride)
        steps = len(range(phase, x.shape[T], stride))
        # Never after it where most results would be cut off again.
        early = cut_first or 2 * count < steps
        start, steps = (tap.first, count) if early else (phase, steps)
        frames = graph.relayout(graph.sliced(x, T, start, stride, steps), FRAMES)
        weights = _weight(graph, weight, tap.position)
        inputs = [frames.name, weights, *([bias] if bias else [])]
        y = graph.emit("Conv", inputs, name, group=group, **window.in_space())
        result = Value(y, (*shape[:T], steps, *shape[T + 1 :]), FRAMES)
        if not early:
            result = graph.sliced(result, T, offset, 1, count)
        return graph.padded(result, {T: (tap.start, shape[T] - tap.stop)})

    # The tap that gives every frame takes the bias. It comes last, so that runtimes can merge its
    # convolution with the addition and the activation after it.
    whole = next((tap for tap in taps if (tap.start, tap.stop) == (0, shape[T])), None)
    parts = [part(tap, "", "") for tap in taps if tap is not whole]
    if whole is not None:
        parts.append(part(whole, bias, "" if parts else output))
    elif bias:
        column = graph.emit("Reshape", [bias, graph.ints(1, -1, 1, 1)])
        parts.append(Value(column, (1, shape[1], 1, 1, 1), FRAMES))
    graph.values[output] = _combined(graph, "Add", parts, output)


def pool(graph: FramesGraph, node: onnx.NodeProto) -> None:
    """A MaxPool or AveragePool: first over space, then over time."""
    if any(node.output[1:]):
        raise LoweringError("its indices count positions in (N, C, T, H, W)")
    given = attributes(node)
    if given.get("ceil_mode", 0):
        raise LoweringError("it has both ceil_mode and dilations")
    window = _window(graph, node, tuple(given["kernel_shape"]))
    x, output = graph.frames(node.input[0]), node.output[0]
    shape, frames = graph.shape(output), graph.shape(node.input[0])[T]
    is_in_time = (window.kernel[0], window.before[0], shape[T]) != (1, 0, frames)
    if window.is_in_space():
        flags = {name: given[name] for name in ["count_include_pad"] if name in given}
        name = "" if is_in_time else output
        name = graph.emit(node.op_type, [x.name], name, **window.in_space(), **flags)
        x = Value(name, (*shape[:T], frames, *shape[T + 1 :]), FRAMES)
    if is_in_time:
        pool_in_time = _maximum if node.op_type == "MaxPool" else _mean
        x = pool_in_time(graph, node, window, x)
    graph.values[output] = x


def _maximum(graph: FramesGraph, node: onnx.NodeProto, window: Window, x: Value) -> Value:
    output, frames = node.output[0], range(x.shape[T])
    reads = [window.frames(place) for place in range(graph.shape(output)[T])]
    if reads == [list(frames)]:
        return graph.reduced("ReduceMax", x, [T], output)
    columns: dict[tuple[int, ...], None] = {}  # what each tap reads, without repetitions
    for k in range(window.kernel[0]):
        column = []
        for read in reads:
            inside = [frame for frame in read if frame in frames] or frames
            # In place of padding, a frame that the window reads anyway.
            column.append(min(inside, key=lambda frame: abs(frame - read[k])))
        columns[tuple(column)] = None
    parts = [graph.taken(x, T, column) for column in columns]
    return _combined(graph, "Max", parts, output)


def _mean(graph: FramesGraph, node: onnx.NodeProto, window: Window, x: Value) -> Value:
    output, frames = node.output[0], range(x.shape[T])
    places = graph.shape(output)[T]
    reads = [window.frames(place) for place in range(places)]
    if reads == [list(frames)]:
        return graph.reduced("ReduceMean", x, [T], output)
    parts = []
    for tap in window.taps(len(frames), places):
        part = graph.sliced(x, T, tap.first, window.strides[0], tap.stop - tap.start)
        parts.append(graph.padded(part, {T: (tap.start, places - tap.stop)}))
    if attributes(node).get("count_include_pad", 0):
        counts = [window.kernel[0]] * places
    else:
        counts = [sum(frame in frames for frame in read) for read in reads]
    total = _combined(graph, "Add", parts)
    factors = 1 / np.repeat(np.maximum(counts, 1), total.shape[0]).astype(graph.dtype(output))
    if len(set(counts)) == 1:
        factors = factors[:1]
    factor = graph.constant(factors.reshape(-1, 1, 1, 1), f"{output}.factor")
    return total._replace(name=graph.emit("Mul", [total.name, factor], output))


def _combined(graph: FramesGraph, operator: str, parts: list[Value], output: str = "") -> Value:
    """The sum, or what else the operator makes of all parts, of which the first is the largest."""
    total, *others = [graph.relayout(part, FRAMES) for part in parts]
    for i, part in enumerate(others, 1):
        name = graph.emit(operator, [total.name, part.name], output if i == len(others) else "")
        total = total._replace(name=name)
    return total


def _window(graph: FramesGraph, node: onnx.NodeProto, kernel: Shape) -> Window:
    given, shape = attributes(node), graph.shape(node.input[0])
    if len(shape) != 5:
        raise LoweringError(f"it slides over {len(shape) - 2} axes")
    strides, dilations = given.get("strides", (1,) * 3), given.get("dilations", (1,) * 3)
    pads = given.get("pads", (0,) * 6)
    padding = given.get("auto_pad", "NOTSET")
    if padding != "NOTSET":
        sizes = zip(shape[2:], graph.shape(node.output[0])[2:], kernel, strides, dilations)
        totals = [max((out - 1) * s + (k - 1) * d + 1 - have, 0) for have, out, k, s, d in sizes]
        if padding == "VALID":
            totals = [0, 0, 0]
        less, more = [n // 2 for n in totals], [n - n // 2 for n in totals]
        pads = (*more, *less) if padding == "SAME_LOWER" else (*less, *more)
    return Window(*(tuple(each) for each in (kernel, strides, dilations, pads[:3], pads[3:])))


def _weight(graph: FramesGraph, name: str, position: int) -> str:
    """The 2-D weight of one tap; a quantised one stays quantised."""
    dequantize = graph.quantized.get(name)
    source = name if dequantize is None else dequantize.input[0]
    array = graph.array(source)
    if array is None:
        raise LoweringError("its weight is not constant")
    suffix = ".2d" if array.shape[2] == 1 else f".2d.{position}"
    tap = graph.constant(array[:, :, position], f"{source}{suffix}")
    if dequantize is None:
        return tap
    scales = [graph.plain(each) for each in dequantize.input[1:]]
    return graph.emit("DequantizeLinear", [tap, *scales], **attributes(dequantize))
