"""Time of each tensor when a clip's graph sees one frame per tick.

No convolution strides in time: each is dilated by the stride that its input has by then, so that
every tick has its slice. The slice of tick t is centred some ticks before t, the tensor's delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import onnx

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.model import attributes
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph, stage_of

TIME = 2
"""Axis of time behind the graph's own preprocessing: (N, C, T, H, W)."""

_ALONE = ("Cast", "Relu", "QuantizeLinear", "DequantizeLinear")  # slices do not see each other


class Moment(NamedTuple):
    """Place of a tensor in time.

    Attributes:
        stride: ticks from one of the clip's positions to the next.
        delay: ticks from the centre of the newest slice to the newest frame.
        axis: place of time among the axes.
    """

    stride: int
    delay: int
    axis: int


class Window(NamedTuple):
    """Positions in time that a convolution or a pool sees at once.

    Attributes:
        size: number of them; odd.
        gap: positions from one to the next.
        stride: positions from one window to the next.
    """

    size: int
    gap: int
    stride: int

    @property
    def reach(self) -> int:
        """Positions from the window's centre to its newest."""
        return self.gap * (self.size // 2)

    def ages(self, stride: int) -> list[int]:
        """Return the ages in ticks of what it sees, the oldest first."""
        return [self.gap * stride * i for i in reversed(range(self.size))]


def time_window(graph: ClipGraph, node: onnx.NodeProto) -> Window:
    """Return the window in time of a Conv or MaxPool.

    Raises:
        ModelError: it is not padded by half its window, or groups channels over time.
    """
    found = attributes(node)
    kernel = found.get("kernel_shape")
    if kernel is None:
        kernel = graph.shape(node.input[1])[2:]
    strides = found.get("strides", [1, 1, 1])
    gaps = found.get("dilations", [1, 1, 1])
    pads = found.get("pads", [0] * 6)
    window = Window(int(kernel[0]), int(gaps[0]), int(strides[0]))
    fits = (
        len(kernel) == 3
        and window.size % 2 == 1
        and pads[0] == pads[3] == window.reach
        and found.get("auto_pad", "NOTSET") == "NOTSET"
        and not found.get("ceil_mode", 0)
    )
    if not fits or (window.size > 1 and found.get("group", 1) != 1):
        raise ModelError(
            f"{node.name} has a window of {list(kernel)} with padding {list(pads)}, of which a "
            "per-frame form knows only windows of odd length in time, padded by half of it and "
            "without groups; stay with clips"
        )
    if node.op_type == "MaxPool" and window.size > 1 and not _positive(graph, node.input[0]):
        raise ModelError(
            f"{node.name} takes maxima over time of values that can be negative, where zeros are "
            "no padding; stay with clips"
        )
    return window


def moments(
    graph: ClipGraph, nodes: Sequence[onnx.NodeProto], causal_from: int | None = None
) -> dict[str, Moment]:
    """Return the place in time of the input and of every tensor that some nodes make.

    Args:
        graph: the clip's graph.
        nodes: in execution order.
        causal_from: last stage whose convolutions see later frames; those of the stages above end
            at the newest slice. None for all.

    Raises:
        ModelError: a node does something that a per-frame form cannot.
    """
    found = {graph.input: Moment(1, 0, 1)}
    for node in nodes:
        inputs = [found[name] for name in node.input if name in found]
        first = inputs[0]
        if node.op_type in _ALONE or (node.op_type in ("Add", "Mul") and len(inputs) == 1):
            moment = first
        elif node.op_type == "Transpose":
            moment = first._replace(axis=list(attributes(node)["perm"]).index(first.axis))
        elif node.op_type in ("Conv", "MaxPool") and first.axis == TIME:
            window = time_window(graph, node)
            reach = 0 if is_causal(node, causal_from) else window.reach
            moment = first._replace(
                stride=first.stride * window.stride, delay=first.delay + first.stride * reach
            )
        elif node.op_type == "Add" and len({each.stride for each in inputs}) == 1:
            moment = first._replace(delay=max(each.delay for each in inputs))
        else:
            raise ModelError(
                f"the graph has {node.op_type} ({node.name or node.output[0]}) before the features "
                "that a per-frame form keeps; export the model from its checkpoint, or stay with "
                "clips"
            )
        found[node.output[0]] = moment
    return found


def is_causal(node: onnx.NodeProto, causal_from: int | None) -> bool:
    """Return whether a convolution sees no frame after its centre."""
    return causal_from is not None and node.op_type == "Conv" and stage_of(node) > causal_from


def _positive(graph: ClipGraph, name: str) -> bool:
    """Return whether a tensor is the output of a ReLU."""
    node = graph.maker(name)
    while node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        node = graph.maker(node.input[0])
    return node is not None and node.op_type == "Relu"
