"""Sliding windows over T, H and W, and their taps: the places in a window along T."""

from __future__ import annotations

from typing import Any, NamedTuple

import onnx

from r2p_edge.export.graph.conv2d.builder import LoweredGraph, LoweringError
from r2p_edge.export.graph.model import Shape, attributes

T = 2
"""The axis of time in (N, C, T, H, W)."""

_Triple = tuple[int, int, int]


class Tap(NamedTuple):
    """The frames that one tap of a window reads.

    Attributes:
        position: of the tap in the window.
        first: the first frame that it reads.
        start, stop: the range of the output's frames for which it reads a frame.
    """

    position: int
    first: int
    start: int
    stop: int


class SlidingWindow(NamedTuple):
    """A sliding window over T, H and W; `before` and `after` are its paddings."""

    kernel: _Triple
    strides: _Triple
    dilations: _Triple
    before: _Triple
    after: _Triple

    def in_space(self) -> dict[str, Any]:
        """Return the attributes of the 2-D operator."""
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
        """Return True unless the window is 1x1 over H and W, without stride and padding."""
        unit = SlidingWindow((1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0), (0, 0, 0))
        return self.in_space() != unit.in_space()

    def frames(self, place: int) -> list[int]:
        """Return the indices of the frames that one output frame reads, padding included."""
        first = place * self.strides[0] - self.before[0]
        return [first + k * self.dilations[0] for k in range(self.kernel[0])]

    def taps(self, frames: int, places: int) -> list[Tap]:
        """Return the taps that read at least one frame.

        Args:
            frames: number of the input's frames.
            places: number of the output's frames.

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


def window_of(graph: LoweredGraph, node: onnx.NodeProto, kernel: Shape) -> SlidingWindow:
    """Return the window of a convolution or pool, with its padding as numbers.

    Raises:
        LoweringError: it does not slide over three axes.
    """
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
    return SlidingWindow(
        *(tuple(each) for each in (kernel, strides, dilations, pads[:3], pads[3:]))
    )
