"""TensorRT's rules for models with QuantizeLinear and DequantizeLinear, checked on any machine.

The rules are those of its ONNX parser (NVIDIA's onnx-tensorrt: builtin_op_importers.cpp of 8.6,
onnxOpImporters.cpp of 10.1), of NvInfer.h, and of the chapter on explicit quantization in its
developer guide. A model that breaks one does not build, or builds into a slower engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import missing
from r2p_edge.calibration.placement import branches, follow
from r2p_edge.errors import ModelError
from r2p_edge.export.graph.model import attributes, opset

try:
    import onnx
    from onnx import numpy_helper
except ImportError as error:
    raise missing("onnx") from error

_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"

# The first opsets with an axis attribute, and with float16 scales (onnx, docs/Changelog.md).
_OPSET, _HALF_OPSET = 13, 19


def require_rules(model: onnx.ModelProto) -> None:
    """Raise an error if a model breaks a rule of TensorRT.

    Raises:
        ModelError: it breaks one or more; the message lists the first.
    """
    found = broken_rules(model)
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise ModelError(
            f"TensorRT would reject the quantised model: {'; '.join(found[:3])}{more}; keep these "
            "layers float (keep_float)"
        )


def broken_rules(model: onnx.ModelProto) -> list[str]:
    """Return a sentence for each place at which a Q/DQ model breaks a rule, in graph order."""
    return list(_Checker(model).problems())


class _Checker:
    """The rules, each of which yields its complaints about a node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._opset = opset(model)
        self._nodes = list(model.graph.node)
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._known = follow(model.graph)

    def problems(self) -> Iterator[str]:
        """Yield the complaints of all rules, in graph order."""
        rules = {
            _QUANTISE: [self._parameters, self._followed_by_its_counterpart, self._reads],
            _DEQUANTISE: [self._parameters, self._follows_its_counterpart],
            "Conv": [self._convolution],
            "Add": [self._sum],
            "BatchNormalization": [self._batch_norm],
        }
        if self._opset < _OPSET:
            yield f"the model has opset {self._opset}, but scales per channel need {_OPSET}"
        for node in self._nodes:
            for rule in rules.get(node.op_type, []):
                for text in rule(node):
                    yield f"{node.name or node.output[0]} {text}"

    def _parameters(self, node: onnx.NodeProto) -> Iterator[str]:
        if len(node.input) < 3 or not node.input[2]:
            yield "has no zero point, which TensorRT 8.6 needs"
            return
        scale, zero = (self._constant(name) for name in node.input[1:3])
        if scale is None or zero is None:
            yield "has a scale or zero point that is not constant"
            return
        if zero.dtype != np.int8 or zero.any():
            yield f"has {zero.dtype} zero points that are not all 0; they must be int8 zeros"
        half = scale.dtype == np.float16 and self._opset >= _HALF_OPSET
        if scale.dtype != np.float32 and not half:
            yield (
                f"has a scale of {scale.dtype}; it must be float32, or float16 from opset "
                f"{_HALF_OPSET} on"
            )
        if not np.logical_and(np.isfinite(scale), np.greater(scale, 0)).all():
            yield "has a scale that is not positive; give channels without weights one too"
        if scale.size != zero.size:
            yield f"has {scale.size} scales but {zero.size} zero points"
        yield from self._axis(node, scale)

    def _axis(self, node: onnx.NodeProto, scale: npt.NDArray[Any]) -> Iterator[str]:
        weight = self._weight(node)
        if scale.size == 1:
            return
        if weight is None:
            yield "has a scale per channel of an activation; only weights may have one"
            return
        axis = attributes(node).get("axis", 1)
        if scale.ndim != 1 or axis != 0 or scale.size != weight.dims[0]:
            yield (
                f"has scales of shape {scale.shape} along axis {axis} of weights of shape "
                f"{tuple(weight.dims)}; there must be one for each output channel, along axis 0"
            )

    def _followed_by_its_counterpart(self, node: onnx.NodeProto) -> Iterator[str]:
        readers = self._readers.get(node.output[0], [])
        if not readers or any(reader.op_type != _DEQUANTISE for reader in readers):
            yield "is not followed by a DequantizeLinear alone"

    def _follows_its_counterpart(self, node: onnx.NodeProto) -> Iterator[str]:
        maker = self._makers.get(node.input[0])
        if maker is None:
            yield "reads stored integers; weights must be float, with a QuantizeLinear after them"
        elif maker.op_type != _QUANTISE:
            yield f"reads a {maker.op_type}, not a QuantizeLinear"
        elif not self._same_constants(maker, node):
            yield f"has another scale than {maker.name or maker.output[0]}, which it undoes"

    def _reads(self, node: onnx.NodeProto) -> Iterator[str]:
        """Complain of Q/DQ after a convolution, which keep TensorRT from fusing what follows it."""
        maker = self._makers.get(node.input[0])
        if maker is None or maker.op_type != "Conv":
            return
        ends = [
            reader
            for undo in self._readers.get(node.output[0], [])
            for reader in self._readers.get(undo.output[0], [])
        ]
        if any(reader.op_type not in ("Add", "Conv") for reader in ends):
            yield f"stands between the convolution {maker.name or maker.output[0]} and what follows"

    def _convolution(self, node: onnx.NodeProto) -> Iterator[str]:
        quantised = [self._is_dequantised(name) for name in node.input[:2]]
        if quantised[0] and not quantised[1]:
            yield "has int8 input but float weights"
        if quantised[1] and not quantised[0]:
            yield "has int8 weights but float input"
        if len(node.input) > 2 and self._is_dequantised(node.input[2]):
            yield "has a quantised bias; it must be float"
        group = attributes(node).get("group", 1)
        weight = self._weight(self._makers[node.input[1]]) if quantised[1] else None
        if weight is not None and group > 1 and (weight.dims[1] % 4 or weight.dims[0] // group % 4):
            yield f"has {group} groups; in int8 each needs a multiple of 4 channels"

    def _sum(self, node: onnx.NodeProto) -> Iterator[str]:
        """Complain of an int8 main branch, whose last convolution cannot take in the sum."""
        for name in branches(node, self._known)[1:]:
            if self._is_dequantised(name):
                yield (
                    "adds two branches of which the longer one ends in int8; only the one that "
                    "bypasses it may"
                )

    def _batch_norm(self, node: onnx.NodeProto) -> Iterator[str]:
        yield "is a batch norm; fold it into the convolution before it, then quantise"

    def _is_dequantised(self, name: str) -> bool:
        return name in self._makers and self._makers[name].op_type == _DEQUANTISE

    def _weight(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """Return the constant that a Q, or the DQ after one, quantises."""
        maker = self._makers.get(node.input[0])
        while maker is not None and maker.op_type in (_QUANTISE, _DEQUANTISE):
            node = maker
            maker = self._makers.get(node.input[0])
        return self._weights.get(node.input[0])

    def _constant(self, name: str) -> npt.NDArray[Any] | None:
        if name not in self._weights:
            return None
        return np.asarray(numpy_helper.to_array(self._weights[name]))

    def _same_constants(self, one: onnx.NodeProto, other: onnx.NodeProto) -> bool:
        return all(
            a == b or _equal(self._constant(a), self._constant(b))
            for a, b in zip(one.input[1:], other.input[1:])
        )


def _equal(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)
