"""Normalisation in the first nodes of an ONNX model of someone else, before its first layer."""

from __future__ import annotations

import logging
from collections import Counter
from math import prod
from typing import NamedTuple

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import UsageError
from r2p_edge.export.graph.model import attributes, malformed_is_error, network_input
from r2p_edge.export.pixels import Pixels
from r2p_edge.spec import ModelSpec

try:
    import onnx
    from onnx import numpy_helper
except ImportError as error:
    raise missing("onnx") from error

_MOVING = frozenset(
    {
        "Cast",
        "DequantizeLinear",
        "Flatten",
        "Identity",
        "QuantizeLinear",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
_CLOSE = 1e-3

_log = logging.getLogger(__name__)


class Front(NamedTuple):
    """Affine function of each channel that a model begins with: `x * factor + offset`.

    Attributes:
        factor, offset: float64 (3,).
    """

    factor: np.ndarray
    offset: np.ndarray


@malformed_is_error()
def found_front(model: onnx.ModelProto) -> Front | None:
    """Return the affine function that a float model begins with; None if it does nothing."""
    makers = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    counts = Counter(name for node in model.graph.node for name in node.input)
    readers = {name: node for node in model.graph.node for name in node.input}

    def constant(name: str) -> np.ndarray | None:
        """Return the one number, or one per channel, that a constant holds."""
        for _ in range(4):  # a constant may be reshaped
            if name in weights:
                if prod(weights[name].dims) not in (1, 3):
                    return None
                return numpy_helper.to_array(weights[name]).ravel().astype(float)
            maker = makers.get(name)
            if maker is None:
                return None
            if maker.op_type == "Constant":
                value = attributes(maker).get("value")
                found = None if value is None else numpy_helper.to_array(value)
                return None if found is None or found.size not in (1, 3) else found.ravel() * 1.0
            if maker.op_type not in _MOVING or not maker.input:
                return None
            name = maker.input[0]
        return None

    name, factor, offset = network_input(model).name, np.ones(3), np.zeros(3)
    while counts[name] == 1:
        node = readers[name]
        if node.op_type == "BatchNormalization":
            values = [constant(each) for each in node.input[1:5]]
            if any(value is None or value.size != 3 for value in values):
                break
            scale, bias, mean, variance = (np.asarray(value) for value in values)
            step = scale / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
            factor, offset = factor * step, (offset - mean) * step + bias
        elif node.op_type in ("Sub", "Add", "Mul", "Div"):
            first = node.input[0] == name
            value = constant(node.input[1 if first else 0])
            if value is None or (node.op_type == "Div" and not first):
                break
            if node.op_type == "Sub" and not first:
                factor, offset = -factor, value - offset
            elif node.op_type in ("Sub", "Add"):
                offset = offset - value if node.op_type == "Sub" else offset + value
            else:
                step = 1 / value if node.op_type == "Div" else value
                factor, offset = factor * step, offset * step
        elif node.op_type not in _MOVING or node.input[0] != name:
            break
        name = node.output[0]
    nothing = np.allclose(factor, 1, atol=1e-6) and np.allclose(offset, 0, atol=1e-6)
    return None if nothing else Front(factor, offset)


def settled_pixels(front: Front | None, spec: ModelSpec) -> Pixels | None:
    """Return what a network takes, where its first nodes leave no doubt; else None.

    They do not where they normalise as the spec does, or where there are none.
    """
    if front is None or _takes_plain(spec):
        return "normalized"
    mean, std = np.array(spec.mean), np.array(spec.std)
    whole = spec.scale * 255  # the span of pixels that the spec normalises: 1, or 255
    for pixels, span in (("unit", 1.0), ("raw", 255.0)):
        factor, offset = whole / span / std, -mean / std
        if np.allclose(front.factor, factor, rtol=_CLOSE) and np.allclose(
            front.offset, offset, rtol=_CLOSE, atol=_CLOSE
        ):
            return "unit" if pixels == "unit" else "raw"
    return None


def decided_pixels(
    front: Front | None, spec: ModelSpec, where: str, *, given: bool
) -> Pixels | None:
    """Return what a network takes of which the caller has not said it, so that it is not guessed.

    Args:
        front: what the network begins with.
        spec: its contract so far.
        where: name of the file or module.
        given: the caller gave the whole spec, which is not changed.

    Raises:
        UsageError: the caller has to say it; see `require_pixels`.
    """
    settled = settled_pixels(front, spec)
    if settled is None or (given and settled != "normalized"):
        require_pixels(front, spec, where)
    if settled != "normalized":
        _log.warning(
            "%s begins with the normalisation of the preset, and so gets pixels that are not "
            "normalised (--pixels %s)",
            where,
            settled,
        )
    return settled


def require_pixels(front: Front | None, spec: ModelSpec, where: str) -> None:
    """Raise an error if a network may normalise what the spec has normalised already.

    Args:
        front: what the network begins with.
        spec: the contract.
        where: name of the file.

    Raises:
        UsageError: it begins with an affine function of the channels, and the spec normalises.
    """
    if front is None or _takes_plain(spec):
        return
    mean, std = 0.0 - front.offset / front.factor, 1 / front.factor
    raise UsageError(
        f"{where} begins with (x - {_numbers(mean)}) / {_numbers(std)}, as if it normalised by "
        f"itself, and the spec normalises with mean {_numbers(spec.mean)} and std "
        f"{_numbers(spec.std)}; say what the network takes: --pixels unit (0 to 1), raw (0 to "
        "255) or normalized (both are meant)"
    )


def _takes_plain(spec: ModelSpec) -> bool:
    return spec.mean == (0.0, 0.0, 0.0) and spec.std == (1.0, 1.0, 1.0)


def _numbers(values: object) -> str:
    numbers = [f"{value:.4g}" for value in np.asarray(values, float)]
    return numbers[0] if len(set(numbers)) == 1 else f"({', '.join(numbers)})"
