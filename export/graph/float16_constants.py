"""The constants of a model as float16, and checks that they fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError

try:
    import onnx
    from onnx import TensorProto, defs, helper, numpy_helper
except ImportError as error:
    raise missing("onnx") from error

_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")

# TensorRT rejects a scale that is not positive.
_SMALLEST_SCALE = np.finfo(np.float16).smallest_subnormal

# Rounding a smaller scale to float16 can move the largest int8 values by more than half a step.
_SMALLEST_EXACT_SCALE = 2.0**-17


def constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Turn Constant nodes into initializers, so that all constant tensors have one form."""
    for i in reversed(range(len(graph.node))):
        tensor = _constant(graph.node[i]) if graph.node[i].op_type == "Constant" else None
        if tensor is not None:
            graph.initializer.append(tensor)
            del graph.node[i]


def quantisation_scales(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Return the names of the scales that Q/DQ nodes read."""
    return {node.input[1] for node in nodes if node.op_type in _QUANTISERS}


def check_quantised_constants(
    nodes: Iterable[onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> None:
    """Check that float16 scales keep the values that stored integers stand for.

    Values behind a QuantizeLinear need no check: it rounds to the steps of the float16 scale.

    Raises:
        ModelError: a scale is too small.
    """
    for node in nodes:
        if node.op_type != "DequantizeLinear" or not constants.keys() >= set(node.input[:2]):
            continue
        data, scale = node.input[:2]
        least = numpy_helper.to_array(constants[scale]).min()
        if least < _SMALLEST_EXACT_SCALE:
            raise ModelError(
                f"{data} is quantised with a scale of {least:.3g} ({scale}), which float16 cannot "
                "represent exactly enough; keep biases in float32, and weights in float32 with a "
                "QuantizeLinear after them (QuantizeBias=False and AddQDQPairToWeight=True in "
                "onnxruntime.quantization)"
            )


def float32_only(nodes: Iterable[onnx.NodeProto], version: int) -> set[str]:
    """Return the tensors that operators accept only in float32, such as the scales of a Resize.

    Args:
        version: opset of the nodes.

    Raises:
        ModelError: ONNX does not define an operator.
    """
    found = set()
    for node in nodes:
        try:
            parameters = defs.get_schema(node.op_type, version, node.domain).inputs
        except defs.SchemaError as error:
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise ModelError(
                f"{node_name(node)} is a {operator}, and ONNX does not define whether that takes "
                "float16; export the model without it"
            ) from error
        for i, name in enumerate(node.input):
            # The last parameter stands for all further inputs.
            if parameters[min(i, len(parameters) - 1)].type_str == "tensor(float)":
                found.add(name)
    return found


def halve_initializers(
    constants: Mapping[str, onnx.TensorProto], scales: set[str], kept: set[str]
) -> None:
    """Convert float32 initializers to float16, in place.

    Args:
        constants: the initializers, by name.
        scales: names of those that must stay positive.
        kept: names of those that stay float32.

    Raises:
        ModelError: a value is too large for float16.
    """
    for name, tensor in constants.items():
        if tensor.data_type == TensorProto.FLOAT and name not in kept:
            tensor.CopyFrom(_half(tensor, name, _SMALLEST_SCALE if name in scales else None))


def halve_attributes(node: onnx.NodeProto) -> None:
    """Convert a node's float32 tensors, and its Cast to float32, to float16, in place.

    Raises:
        ModelError: a value is too large for float16.
    """
    for attribute in node.attribute:
        if attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half(attribute.t, node_name(node)))
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def node_name(node: onnx.NodeProto) -> str:
    """Return a node's name for messages; a nameless node is named by its outputs."""
    return node.name or f"{node.op_type} of {', '.join(node.output)}"


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return a Constant node's tensor; None if it has integers or strings without a tensor."""
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.name in ("value_float", "value_floats"):
        return numpy_helper.from_array(np.array(value, np.float32), node.output[0])
    if attribute.name != "value":
        return None
    tensor = onnx.TensorProto()
    tensor.CopyFrom(value)
    tensor.name = node.output[0]
    return tensor


def _half(
    tensor: onnx.TensorProto, owner: str, least: np.floating[Any] | None = None
) -> onnx.TensorProto:
    """Convert a tensor to float16, with no value under `least`; `owner` is named in errors."""
    array = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    lost = np.isinf(half) & np.isfinite(array)
    if lost.any():
        raise ModelError(
            f"{owner} has values up to {np.abs(array[lost]).max():g}, but float16 ends at 65504; "
            "choose the precision fp32 for this model"
        )
    if least is not None:
        half = np.maximum(half, least)
    return numpy_helper.from_array(half, tensor.name)
