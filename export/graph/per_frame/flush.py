"""The graph of the features that a window's end still lacks, padded there as a clip is.

At a window's last frame the newest feature is centred some ticks before it. This graph computes the
later ones with the clip's own convolutions, from what the rings hold, and with zeros after the last
frame. Where a ring does not reach the window's first position, zeros stand there as in a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import onnx

from r2p_edge.export.graph.model import attributes
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph
from r2p_edge.export.graph.per_frame.part import PartGraph
from r2p_edge.export.graph.per_frame.rings import Rings, unsqueezed
from r2p_edge.export.graph.per_frame.timing import TIME, time_window

_PART = "flush"


class _Span(NamedTuple):
    """Positions of a tensor in the window: `known` of them are in a ring, below 0 if none is."""

    positions: int
    known: int

    @property
    def first(self) -> int:
        """First position that is computed."""
        return max(0, self.known)


class FlushGraph:
    """The graph of the features that a window lacks at its last frame, under construction.

    Args:
        graph: the clip's graph.
        nodes: up to the features, in execution order.
        feature: the tensor of the features.
        rings: of the form, to note the slices in that it reads.
        frames: of a window.

    Attributes:
        missing: positions that it computes.
    """

    def __init__(
        self,
        graph: ClipGraph,
        nodes: Sequence[onnx.NodeProto],
        feature: str,
        rings: Rings,
        frames: int,
    ) -> None:
        self._graph, self._rings, self._part = graph, rings, PartGraph(graph)
        self._feature, self._frames = feature, frames
        span = self._span(feature)
        self.missing = tuple(range(span.first, span.positions))
        for node in nodes:
            made = self._span(node.output[0])
            if made.first < made.positions:
                self._add(node)

    def model(self) -> onnx.ModelProto:
        """Return the graph, whose outputs are `RING.pI` of the missing positions I."""
        name, first = self._rings.names[self._feature], self._span(self._feature).first
        outputs = {}
        for place in self.missing:
            index = self._part.scalar(f"place{place - first}", place - first)
            output = f"{name}.p{place}"
            self._part.node("Gather", [self._feature, index], output, axis=TIME)
            shape = self._rings.slice_shape(self._feature)
            outputs[output] = self._graph.type(self._feature), shape
        return self._part.model(_PART, outputs, self._rings.renamed())

    def _span(self, name: str) -> _Span:
        moment = self._rings.moments[name]
        positions = -(-self._frames // moment.stride)
        newest = self._frames - 1 - moment.delay  # its centre, from the window's first frame
        return _Span(positions, newest // moment.stride + 1)

    def _add(self, node: onnx.NodeProto) -> None:
        made, moments = self._span(node.output[0]), self._rings.moments
        if node.op_type in ("Conv", "MaxPool"):
            window, given = time_window(self._graph, node), self._span(node.input[0])
            last = (made.positions - 1) * window.stride
            oldest = made.first * window.stride - window.reach
            before = 0
            if oldest < 0 and given.known < 0:
                before, oldest = -oldest, 0
            after = max(0, last + window.reach - (given.positions - 1))
            pads = list(attributes(node).get("pads", [0] * 6))
            pads[0], pads[3] = before, after
            x = self._window(node.input[0], oldest)
            self._part.take(node, [x, *node.input[1:]], pads=pads)
        elif node.op_type == "Add" and all(name in moments for name in node.input):
            self._part.take(node, [self._window(name, made.first) for name in node.input])
        else:
            self._part.take(node)

    def _window(self, name: str, oldest: int) -> str:
        """Return the positions of a tensor from `oldest` on, of which there may be older ones."""
        span, moment = self._span(name), self._rings.moments[name]
        if oldest == span.first:
            return name
        stored, dequantise = self._graph.stored(name)
        end = f"from{oldest}"
        if oldest > span.first:
            axes = self._part.whole("time", TIME)
            start = self._part.whole(f"start{oldest - span.first}", oldest - span.first)
            stop = self._part.whole("stop", 2**31 - 1)
            return self._part.node("Slice", [name, start, stop, axes], f"{name}.{end}")
        newest = self._frames - 1 - moment.delay
        slices = [
            self._rings.slot(self._part, _PART, stored, newest - place * moment.stride)
            for place in range(oldest, span.first)
        ]
        parts = unsqueezed(self._part, slices)
        if span.first < span.positions:
            parts.append(stored)
        x = parts[0]
        if len(parts) > 1:
            x = self._part.node("Concat", parts, f"{stored}.{end}", axis=TIME)
        if dequantise is not None:
            inputs = [x, *dequantise.input[1:]]
            x = self._part.node("DequantizeLinear", inputs, f"{name}.{end}")
        return x
