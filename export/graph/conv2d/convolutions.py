"""3-D convolutions as sums of 2-D ones over slices of the frames.

For each tap, a place in the window along T, a 2-D convolution runs on all frames that the tap
reads; the results of the taps are then added frame by frame. Reading the taps side by side
instead, as more channels of one convolution, takes copies that cost more than the additions: it
makes R(2+1)D-18 slower by a quarter in ONNX Runtime and by a seventh in OpenVINO.
"""

from __future__ import annotations

import math

import onnx

from r2p_edge.export.graph.conv2d.axes import combined, padded, sliced
from r2p_edge.export.graph.conv2d.builder import LoweredGraph, LoweringError, Value
from r2p_edge.export.graph.conv2d.layout import IMAGES
from r2p_edge.export.graph.conv2d.windows import SlidingWindow, T, Tap, window_of
from r2p_edge.export.graph.model import Shape, attributes


def lower_convolution(graph: LoweredGraph, node: onnx.NodeProto) -> None:
    """Lower a Conv with a constant weight to a sum over its taps."""
    output = node.output[0]
    shape, kernel = graph.shape(output), graph.shape(node.input[1])
    window = window_of(graph, node, kernel[2:])
    x = graph.images(node.input[0])
    taps = window.taps(x.shape[T], shape[T])
    bias = graph.plain(node.input[2]) if len(node.input) > 2 else ""

    def part(tap: Tap, bias: str, name: str) -> Value:
        return _tap_output(graph, node, window, x, tap, bias, name)

    # The tap that computes every frame takes the bias. It comes last, so that runtimes can fuse
    # its convolution with the addition and the activation after it.
    whole = next((tap for tap in taps if (tap.start, tap.stop) == (0, shape[T])), None)
    parts = [part(tap, "", "") for tap in taps if tap is not whole]
    if whole is not None:
        parts.append(part(whole, bias, "" if parts else output))
    elif bias:
        column = graph.emit("Reshape", [bias, graph.ints(1, -1, 1, 1)])
        parts.append(Value(column, (1, shape[1], 1, 1, 1), IMAGES))
    graph.values[output] = combined(graph, "Add", parts, output)


def _tap_output(
    graph: LoweredGraph,
    node: onnx.NodeProto,
    window: SlidingWindow,
    x: Value,
    tap: Tap,
    bias: str,
    name: str,
) -> Value:
    """Compute the contribution of one tap to all frames of the output."""
    shape = graph.shape(node.output[0])
    stride, count = window.strides[0], tap.stop - tap.start
    offset, phase = divmod(tap.first, stride)
    steps = len(range(phase, x.shape[T], stride))
    # Frames are sliced where they are smaller, before the convolution or after it; but never
    # after it if that would discard most results.
    early = _size(x.shape) <= _size(shape) or 2 * count < steps
    start, steps = (tap.first, count) if early else (phase, steps)
    images = graph.relayout(sliced(graph, x, T, start, stride, steps), IMAGES)
    weight = _weight(graph, node.input[1], tap.position)
    inputs = [images.name, weight, *([bias] if bias else [])]
    group = attributes(node).get("group", 1)
    y = graph.emit("Conv", inputs, name, group=group, **window.in_space())
    result = Value(y, (*shape[:T], steps, *shape[T + 1 :]), IMAGES)
    if not early:
        result = sliced(graph, result, T, offset, 1, count)
    return padded(graph, result, {T: (tap.start, shape[T] - tap.stop)})


def _size(shape: Shape) -> int:
    """Return the number of elements in one frame."""
    return math.prod(shape[axis] for axis in (1, 3, 4))


def _weight(graph: LoweredGraph, name: str, position: int) -> str:
    """Return the 2-D weight of one tap; a quantised one stays quantised."""
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
