"""3-D pools as 2-D ones over H and W, followed by arithmetic on slices of the frames."""

from __future__ import annotations

import numpy as np
import onnx

from r2p_edge.export.graph.conv2d.axes import combined, padded, reduced, sliced, taken
from r2p_edge.export.graph.conv2d.builder import LoweredGraph, LoweringError, Value
from r2p_edge.export.graph.conv2d.layout import IMAGES
from r2p_edge.export.graph.conv2d.plain import counted_average
from r2p_edge.export.graph.conv2d.windows import SlidingWindow, T, window_of
from r2p_edge.export.graph.model import attributes


def lower_pool(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a MaxPool or AveragePool to a pool over space, then one over time."""
    if any(node.output[1:]):
        raise LoweringError("its indices count positions in (N, C, T, H, W)")
    given = attributes(node)
    if given.get("ceil_mode", 0):
        raise LoweringError("it has both ceil_mode and dilations")
    window = window_of(graph, node, tuple(given["kernel_shape"]))
    x, output = graph.images(node.input[0]), node.output[0]
    shape, frames = graph.shape(output), graph.shape(node.input[0])[T]
    is_in_time = (window.kernel[0], window.before[0], shape[T]) != (1, 0, frames)
    if window.is_in_space():
        name = "" if is_in_time else output
        if given.get("count_include_pad", 0) and any((*window.before[1:], *window.after[1:])):
            name = counted_average(graph, x, name, **window.in_space())
        else:
            name = graph.emit(node.op_type, [x.name], name, **window.in_space())
        x = Value(name, (*shape[:T], frames, *shape[T + 1 :]), IMAGES)
    if is_in_time:
        pool_in_time = _maximum if node.op_type == "MaxPool" else _mean
        x = pool_in_time(graph, node, window, x)
    graph.values[output] = x


def _maximum(graph: LoweredGraph, node: onnx.NodeProto, window: SlidingWindow, x: Value) -> Value:
    output, frames = node.output[0], range(x.shape[T])
    reads = [window.frames(place) for place in range(graph.shape(output)[T])]
    if reads == [list(frames)]:
        return reduced(graph, "ReduceMax", x, [T], output)
    columns: dict[tuple[int, ...], None] = {}  # frames that each tap reads, without repetitions
    for k in range(window.kernel[0]):
        column = []
        for read in reads:
            inside = [frame for frame in read if frame in frames] or frames
            # Padding is replaced by a frame that the window reads anyway.
            column.append(min(inside, key=lambda frame: abs(frame - read[k])))
        columns[tuple(column)] = None
    parts = [taken(graph, x, T, column) for column in columns]
    return combined(graph, "Max", parts, output)


def _mean(graph: LoweredGraph, node: onnx.NodeProto, window: SlidingWindow, x: Value) -> Value:
    output, frames = node.output[0], range(x.shape[T])
    places = graph.shape(output)[T]
    reads = [window.frames(place) for place in range(places)]
    if reads == [list(frames)]:
        return reduced(graph, "ReduceMean", x, [T], output)
    parts = []
    for tap in window.taps(len(frames), places):
        part = sliced(graph, x, T, tap.first, window.strides[0], tap.stop - tap.start)
        parts.append(padded(graph, part, {T: (tap.start, places - tap.stop)}))
    if attributes(node).get("count_include_pad", 0):
        counts = [window.kernel[0]] * places
    else:
        counts = [sum(frame in frames for frame in read) for read in reads]
    total = combined(graph, "Add", parts)
    factors = 1 / np.repeat(np.maximum(counts, 1), total.shape[0]).astype(graph.dtype(output))
    if len(set(counts)) == 1:
        factors = factors[:1]
    factor = graph.constant(factors.reshape(-1, 1, 1, 1), f"{output}.factor")
    return total._replace(name=graph.emit("Mul", [total.name, factor], output))
