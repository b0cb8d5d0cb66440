"""The graph of one tick: it takes a frame and older slices, and gives the newest slices.

It has no axis of time. A convolution over time sees its slices beside each other as channels, with
its weights in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from r2p_edge.errors import ModelError
from r2p_edge.export.graph.model import attributes, opset
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph
from r2p_edge.export.graph.per_frame.part import PartGraph
from r2p_edge.export.graph.per_frame.rings import Rings
from r2p_edge.export.graph.per_frame.timing import (
    TIME,
    Moment,
    is_causal,
    moments,
    time_window,
)
from r2p_edge.export.graph.per_frame.weights import ConvConstants, causal_weight, fitting
from r2p_edge.spec.per_frame import FRAME_INPUT


class StepGraph:
    """The graph of one tick up to some tensors, under construction.

    Args:
        graph: the clip's graph.
        nodes: of it, in execution order.
        rings: to note the slices in that it reads.
        part: its name among the parts.
        causal_from: see `moments`.
        weights: values of constants in place of the source's. Those of a convolution that is
            causal are of its taps, the oldest first.

    Raises:
        ModelError: a node does something that a per-frame form cannot.
    """

    def __init__(
        self,
        graph: ClipGraph,
        nodes: list[onnx.NodeProto],
        rings: Rings,
        part: str,
        causal_from: int | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._graph, self._rings, self._name = graph, rings, part
        self._causal_from, self._weights = causal_from, weights or {}
        self._part = PartGraph(graph)
        shape = [1, *graph.shape(graph.input)[2:]]
        self._part.input(FRAME_INPUT, graph.type(graph.input), shape)
        self._used: set[str] = set()
        for node in nodes:
            self._add(node)
        if stray := sorted(set(self._weights) - self._used):
            raise ModelError(
                f"the graph has no constant {stray[0]}; give weights of the model that it was made "
                "from"
            )

    @property
    def _moments(self) -> Mapping[str, Moment]:
        return self._rings.moments

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        """Return the graph with the newest slice of every ring, and some tensors, as outputs."""
        found: dict[str, tuple[int, list[int]]] = {}
        for name in dict.fromkeys([*self._rings.names, *outputs]):
            shape = self._graph.shape(name)
            if name in self._moments:
                del shape[self._moments[name].axis]
            found[name] = self._graph.type(name), shape
        names = {**self._rings.renamed(), self._graph.input: FRAME_INPUT}
        return self._part.model(self._name, found, names)

    def _add(self, node: onnx.NodeProto) -> None:
        kind, moment = node.op_type, self._moments.get(node.input[0])
        if moment is None:  # behind the mean over time
            self._part.take(node)
            self._replace(node)
        elif kind == "Transpose":
            perm = [axis for axis in attributes(node)["perm"] if axis != moment.axis]
            perm = [axis - (axis > moment.axis) for axis in perm]
            self._part.take(node, perm=perm)
        elif kind == "Conv":
            self._conv(node)
        elif kind == "MaxPool":
            self._pool(node)
        elif kind == "ReduceMean":
            self._mean(node)
        elif kind in ("Add", "Mul") and any(map(self._graph.is_constant, node.input)):
            for name in node.input:
                if self._graph.is_constant(name):
                    self._flatten(name, moment)
            self._part.take(node)
        elif kind == "Add":
            delay = self._moments[node.output[0]].delay
            inputs = [self._read(name, delay - self._moments[name].delay) for name in node.input]
            self._part.take(node, inputs)
        else:
            self._part.take(node)

    def _conv(self, node: onnx.NodeProto) -> None:
        window, data = time_window(self._graph, node), node.input[0]
        ages = window.ages(self._moments[data].stride)
        x = self._read(data, *ages)
        constants = ConvConstants(self._graph, node)
        weight, bias = map(self._given, (constants.weight_name, constants.bias_name))
        if weight is None and window.size > 1 and is_causal(node, self._causal_from):
            weight = causal_weight(node.name, constants.weight())
        changed = {constants.root: self._graph.array(constants.root)}
        if weight is not None or bias is not None:
            changed = constants.replaced(weight, bias)
        for name, value in changed.items():
            self._part.constant(name, side_by_side(value) if name == constants.root else value)
        self._part.take(node, [x, *node.input[1:]], **in_space(node))

    def _pool(self, node: onnx.NodeProto) -> None:
        window, data = time_window(self._graph, node), node.input[0]
        ages = window.ages(self._moments[data].stride)
        taps = [self._read(data, age) for age in ages]
        x = taps[0] if len(taps) == 1 else self._part.node("Max", taps, f"{node.output[0]}.max")
        self._part.take(node, [x], **in_space(node))

    def _mean(self, node: onnx.NodeProto) -> None:
        if opset(self._graph.model) < 18:
            self._part.take(node, axes=[2, 3])
        else:
            axes = self._part.whole(node.input[1], 2, 3)
            self._part.take(node, [node.input[0], axes])

    def _read(self, name: str, *ages: int) -> str:
        """Return a tensor's slices of some ages, the newest being 0, as channels in that order."""
        if ages == (0,):
            return name
        stored, dequantise = self._graph.stored(name)
        slices = [
            stored if age == 0 else self._rings.slot(self._part, self._name, stored, age)
            for age in ages
        ]
        end = "-".join(map(str, ages))
        x = slices[0]
        if len(slices) > 1:
            x = self._part.node("Concat", slices, f"{stored}.slices{end}", axis=1)
        if dequantise is not None:
            x = self._part.node(
                "DequantizeLinear", [x, *dequantise.input[1:]], f"{name}.slices{end}"
            )
        return x

    def _flatten(self, name: str, moment: Moment) -> None:
        """Take the axis of time from a constant that is added or multiplied with a tensor."""
        if name not in self._graph.constants:
            return
        value = self._graph.array(name)
        place = value.ndim - (5 - moment.axis)
        if place >= 0:
            self._part.constant(name, value.squeeze(place))

    def _given(self, name: str) -> np.ndarray | None:
        """Return the value that was given for a constant; None without one."""
        if name in self._weights:
            self._used.add(name)
        return self._weights.get(name)

    def _replace(self, node: onnx.NodeProto) -> None:
        for name in node.input:
            value = self._given(name)
            if value is not None:
                self._part.constant(name, fitting(name, self._graph.array(name), value))


def head_nodes(graph: ClipGraph, feature: str) -> tuple[list[onnx.NodeProto], dict[str, Moment]]:
    """Return the nodes up to a feature, and the place in time of their tensors.

    Raises:
        ModelError: a node does something that a per-frame form cannot.
    """
    nodes = graph.region(feature)
    found = moments(graph, nodes)
    if found[feature].axis != TIME:
        raise ModelError(f"{feature} has time on axis {found[feature].axis}, not {TIME}")
    return nodes, found


def in_space(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a Conv or MaxPool without time."""
    found = attributes(node)
    pads = found.get("pads", [0] * 6)
    changed = {"pads": [*pads[1:3], *pads[4:6]]}
    for name in ("kernel_shape", "strides", "dilations"):
        if name in found:
            changed[name] = list(found[name][1:])
    return changed


def side_by_side(weight: np.ndarray) -> np.ndarray:
    """Return a weight (O, C, kt, kh, kw) as (O, kt * C, kh, kw)."""
    outputs, channels, size, *kernel = weight.shape
    flat = weight.transpose(0, 2, 1, 3, 4).reshape(outputs, size * channels, *kernel)
    return np.ascontiguousarray(flat)
