"""The later stages of a semi-causal form, fitted to a clip model without gradients.

A convolution that sees other ticks has outputs of other means and spreads than those on which the
layers behind it were trained. One after the other, each is given those that it has in the clip
model; then the last layer is fitted to the clip model's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from r2p_edge.calibration.causal_material import (
    CausalMaterial,
    ChannelStatistics,
    share_of_agreement,
    within,
)
from r2p_edge.errors import ModelError
from r2p_edge.export.graph.model import attributes
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph
from r2p_edge.export.graph.per_frame.step import in_space, side_by_side
from r2p_edge.export.graph.per_frame.timing import moments, time_window
from r2p_edge.export.graph.per_frame.weights import ConvConstants, causal_weight
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.scores import softmax
from r2p_edge.teaching.fitting import fit_standardised
from r2p_edge.teaching.head import TaughtHead

_CHUNK = 64  # ticks at a time
_STRENGTH = 1e-3  # of the head's L2 regularisation
_STRETCHES = 20
_SAME = 0.005  # of agreement, which a later answer must gain to be worth the wait
_PASSED = ("Flatten", "Reshape", "Squeeze", "Identity")  # of what has no axis but the channels

Slices = npt.NDArray[np.float16]
"""(ticks, C, H, W)."""


class CausalFit(NamedTuple):
    """Later stages that were fitted.

    Attributes:
        constants: of the semi-causal form, by their names in the float graph.
        wait: ticks after a window's last frame at which its answer is read.
        agreement: share of the windows with the clip model's best class at each wait, where each
            half of them was answered by a head that was fitted to the other.
    """

    constants: dict[str, npt.NDArray[np.float32]]
    wait: int
    agreement: dict[int, float]


def fit_later_stages(
    graph: ClipGraph,
    stages: int,
    material: CausalMaterial,
    waits: Sequence[int],
    progress: Callable[[int, int], None] = lambda *_: None,
) -> CausalFit:
    """Fit the stages above some to what a clip model answers.

    Args:
        graph: the clip model, fp32.
        stages: last stage that stays.
        material: see `causal_material`.
        waits: to choose from, in ticks, the shortest first.
        progress: called with the number of layers that are done, and of all.

    Raises:
        ModelError: the graph has something that no such form can have.
    """
    later = _LaterStages(graph, stages, material, progress)
    pooled, constants = later.run()
    inside = within(material, waits)
    ends, answers = material.ends[inside], material.answers[inside].astype(np.float64)
    shares = softmax(answers)
    # Stretches in turn, as each kind of stream has to be in both halves.
    stretch = max(1, len(ends) // _STRETCHES)
    folds = np.arange(len(ends)) // stretch % 2 == 0
    agreement = {}
    for wait in waits:
        x, right = pooled[ends + wait], []
        for fold in (folds, ~folds):
            head = _fit(x[fold], shares[fold])
            right.append(share_of_agreement(head.logits(x[~fold]), answers[~fold]))
        agreement[wait] = float(np.mean(right))
    best = max(agreement.values())
    wait = next(wait for wait in waits if agreement[wait] >= best - _SAME)
    head = _fit(pooled[ends + wait], shares)
    weight, bias = later.head_names
    return CausalFit({**constants, weight: head.weight, bias: head.bias}, wait, agreement)


def _fit(features: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]) -> TaughtHead:
    return fit_standardised(features, shares, np.ones(len(features)), _STRENGTH, tolerance=1e-5)


class _LaterStages:
    """The layers above a stage, which are run on all ticks one after the other."""

    def __init__(
        self,
        graph: ClipGraph,
        stages: int,
        material: CausalMaterial,
        progress: Callable[[int, int], None],
    ) -> None:
        self._graph, self._material, self._progress = graph, material, progress
        feature = graph.feature(stages)
        before = {node.output[0] for node in graph.region(feature)}
        nodes = graph.region(graph.output)
        self._nodes = [node for node in nodes if node.output[0] not in before]
        means = [i for i, node in enumerate(self._nodes) if node.op_type == "ReduceMean"]
        linear = [node for node in self._nodes if node.op_type == "Gemm"]
        if not means or not linear or self._nodes[-1] is not linear[-1]:
            raise ModelError(
                "the graph does not end in a mean over time and space and linear layers, of which "
                "the last one could be fitted; export the model from its checkpoint"
            )
        self._mean = means[0]
        lower = [node for node in nodes if node.output[0] in before]
        self._moments = moments(graph, [*lower, *self._nodes[: self._mean]], stages)
        self._head = linear[-1]
        if not attributes(self._head).get("transB") or len(self._head.input) < 3:
            raise ModelError(
                f"{self._head.name} is no layer of weights (classes, C) and a bias; export the "
                "model from its checkpoint"
            )
        # The slices of the first ticks are centred before the first frame, and nobody sees them.
        self._gate = self._moments[feature].delay
        self._values: dict[str, Slices] = {feature: material.features[self._gate :]}
        self._left = {
            name: sum(name in node.input for node in self._nodes)
            for name in [feature, *(node.output[0] for node in self._nodes)]
        }

    @property
    def head_names(self) -> tuple[str, str]:
        """Names of the last layer's weight and bias."""
        return self._head.input[1], self._head.input[2]

    def run(self) -> tuple[npt.NDArray[np.float64], dict[str, npt.NDArray[np.float32]]]:
        """Return what the last layer takes at each tick, (ticks, C), and the other constants."""
        constants: dict[str, npt.NDArray[np.float32]] = {}
        done, total = 0, sum(node.op_type == "Conv" for node in self._nodes)
        for node in self._nodes[: self._mean]:
            found = [self._take(name) for name in node.input if name in self._values]
            if node.op_type == "Conv":
                value, changed = self._conv(node, found[0])
                done += 1
                self._progress(done, total)
                constants |= changed
            elif node.op_type == "Relu":
                value = np.maximum(found[0], np.float16(0))
            elif node.op_type == "Add" and len(found) == 2:
                value = found[0] + found[1]
            else:
                raise _unknown(node)
            self._values[node.output[0]] = value
        x = self._take(self._nodes[self._mean].input[0]).mean(axis=(2, 3), dtype=np.float64)
        for node in self._nodes[self._mean + 1 : -1]:
            if node.op_type == "Relu":
                x = np.maximum(x, 0)
            elif node.op_type == "Gemm" and attributes(node).get("transB"):
                weight, bias = (self._graph.array(name) for name in node.input[1:3])
                x = x @ weight.T.astype(np.float64) + bias
            elif node.op_type not in _PASSED:
                raise _unknown(node)
        return np.concatenate([np.zeros((self._gate, x.shape[1])), x]), constants

    def _take(self, name: str) -> Slices:
        """Return a tensor, which is forgotten once nobody else reads it."""
        value = self._values[name]
        self._left[name] -= 1
        if not self._left[name]:
            del self._values[name]
        return value

    def _conv(
        self, node: onnx.NodeProto, x: Slices
    ) -> tuple[Slices, dict[str, npt.NDArray[np.float32]]]:
        """Return a convolution's outputs with the clip model's statistics, and its constants."""
        window, old = time_window(self._graph, node), ConvConstants(self._graph, node)
        weight, bias = old.weight().astype(np.float64), old.bias()
        if bias is None:
            raise ModelError(f"{node.name} has no bias; export the model from its checkpoint")
        if window.size > 1:
            weight = causal_weight(node.name, weight)
        ages = window.ages(self._moments[node.input[0]].stride)
        y = _convolved(node, x, ages, weight, bias)
        wanted, own = self._material.statistics[node.name], _statistics(y)
        # A channel that never changes has no spread to be given.
        factor = np.where(own.spread > 0, wanted.spread / np.maximum(own.spread, 1e-12), 1.0)
        shift = wanted.mean - own.mean * factor
        for first in range(0, len(y), _CHUNK):
            part = y[first : first + _CHUNK]
            part[:] = part * factor[:, None, None] + shift[:, None, None]
        return y, {
            old.weight_name: (weight * factor[:, None, None, None, None]).astype(np.float32),
            old.bias_name: (bias * factor + shift).astype(np.float32),
        }


def _convolved(
    node: onnx.NodeProto,
    x: Slices,
    ages: Sequence[int],
    weight: npt.NDArray[np.float64],
    bias: npt.NDArray[np.floating],
) -> Slices:
    """Return a convolution of slices of some ages beside each other; zeros are before the first."""
    constants = {"w": side_by_side(weight.astype(np.float32)), "b": bias.astype(np.float32)}
    conv = helper.make_node("Conv", ["x", "w", "b"], ["y"], **_plain(in_space(node)))
    graph = helper.make_graph(
        [conv],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    session = open_session(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    oldest = max(ages)
    padded = np.concatenate([np.zeros((oldest, *x.shape[1:]), x.dtype), x])
    found = []
    for first in range(0, len(x), _CHUNK):
        last = min(first + _CHUNK, len(x))
        taps = [padded[oldest - age + first : oldest - age + last] for age in ages]
        (y,) = session.run(None, {"x": np.concatenate(taps, axis=1).astype(np.float32)})
        found.append(y.astype(np.float16))
    return np.concatenate(found)


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a convolution over space that a new node takes."""
    names = ("pads", "kernel_shape", "strides", "dilations")
    return {name: found[name] for name in names if name in found}


def _statistics(y: Slices) -> ChannelStatistics:
    sums, squares = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for first in range(0, len(y), _CHUNK):
        part = y[first : first + _CHUNK].astype(np.float64)
        sums += part.sum(axis=(0, 2, 3))
        squares += (part**2).sum(axis=(0, 2, 3))
    count = y.size / y.shape[1]
    mean = sums / count
    return ChannelStatistics(mean, np.sqrt(np.maximum(squares / count - mean**2, 0)))


def _unknown(node: onnx.NodeProto) -> ModelError:
    return ModelError(
        f"the graph has {node.op_type} ({node.name or node.output[0]}) above the stages that stay, "
        "which is not fitted; export the model from its checkpoint"
    )
