"""A model's arithmetic in float16, for runtimes that compute in the types which the model says.

TensorRT 11 is such a runtime (its migration guide from 10.x). onnxruntime's and
onnxconverter-common's `convert_float_to_float16` do not serve here: they cap in silence what is
too large, the former puts the Cast of an input behind the nodes that read it, and both leave Q/DQ
models at opsets in which scales cannot be float16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError

try:
    import onnx
    from onnx import (
        TensorProto,
        defs,
        helper,
        inliner,
        numpy_helper,
        shape_inference,
        version_converter,
    )
except ImportError as error:
    raise missing("onnx", "export") from error

from r2p_edge.export.graph.adapt import rename
from r2p_edge.export.graph.static import fed, opset

# The first opset in which the scales of Q/DQ may be float16, and the IR version that came with it
# (onnx, docs/Versioning.md).
_QUANTISED_OPSET, _QUANTISED_IR = 19, 9
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")

# TensorRT refuses a scale that is not positive.
_SMALLEST_SCALE = np.finfo(np.float16).smallest_subnormal

# Rounding a smaller one to float16 can move the largest int8 values by more than half a step.
_SMALLEST_EXACT_SCALE = 2.0**-17


def half_from_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float16 in place of float32 everywhere but at its ends.

    Inputs and outputs keep name, shape and type; what is float32 there goes through a Cast. Other
    tensors keep their names, and the metadata stay. Pixels are normalised in float16 too: it holds
    them exactly, and in float32 the logits come no closer to the float32 model's. Values below
    float16's smallest become zero, but the scales of Q/DQ become the smallest.

    A tensor whose values pass 65504 only when the model runs becomes infinite there; running it
    shows.

    Args:
        model: float32, with its weights in it; it stays as it is. Q/DQ models keep their int8,
            and become opset 19 where theirs is older.

    Returns:
        A new model.

    Raises:
        ModelError: a constant is too large for float16, a scale too small, or an operator does not
            compute in float16; it is named.
    """
    result = onnx.ModelProto()
    result.CopyFrom(inliner.inline_local_functions(model) if model.functions else model)
    result = _with_half_scales(result)
    graphs = list(_graphs(result.graph))
    for graph in graphs:
        del graph.value_info[:]  # types that change
        _turn_constants_into_initializers(graph)
    nodes = [node for graph in graphs for node in graph.node]
    constants = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
    _check_quantised_constants(nodes, constants)
    _halve_constants(constants, _scales(nodes), kept=_float32_only(nodes, opset(result)))
    for node in nodes:
        _halve_attributes(node)
    for graph in graphs:
        for value in (*graph.input, *graph.output):
            if _is_float32(value):
                value.type.tensor_type.elem_type = TensorProto.FLOAT16
    _cast_ends(result.graph, model.graph)
    _check_types(result)
    return result


def _with_half_scales(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset in which the scales of its Q/DQ nodes may be float16."""
    if opset(model) >= _QUANTISED_OPSET or not _scales(model.graph.node):
        return model
    try:
        converted = version_converter.convert_version(model, _QUANTISED_OPSET)
    except Exception as error:  # ConvertError or RuntimeError, by the operator
        raise ModelError(
            f"onnx cannot convert the quantised model from opset {opset(model)} to "
            f"{_QUANTISED_OPSET} ({error}); export it in that opset"
        ) from error
    converted.ir_version = max(model.ir_version, _QUANTISED_IR)
    return converted


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and the inner graphs of control flow in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for each in inner:
                yield from _graphs(each)


def _turn_constants_into_initializers(graph: onnx.GraphProto) -> None:
    """Those of Constant nodes, so that tensors that are constant come in one form."""
    for i in reversed(range(len(graph.node))):
        tensor = _constant(graph.node[i]) if graph.node[i].op_type == "Constant" else None
        if tensor is not None:
            graph.initializer.append(tensor)
            del graph.node[i]


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """What a Constant node gives; None where it holds integers or strings without a tensor."""
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


def _scales(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {node.input[1] for node in nodes if node.op_type in _QUANTISERS}


def _check_quantised_constants(
    nodes: Iterable[onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> None:
    """Raises ModelError where float16 scales would change what quantised constants stand for.

    Where a QuantizeLinear comes first, it rounds to the steps that the float16 scale has.
    """
    for node in nodes:
        if node.op_type != "DequantizeLinear" or not constants.keys() >= set(node.input[:2]):
            continue
        data, scale = node.input[:2]
        least = numpy_helper.to_array(constants[scale]).min()
        if least < _SMALLEST_EXACT_SCALE:
            raise ModelError(
                f"{data} is quantised with a scale of {least:.3g} ({scale}), which float16 does "
                "not hold exactly enough; keep biases in float32, and weights in float32 with a "
                "QuantizeLinear after them (QuantizeBias=False and AddQDQPairToWeight=True in "
                "onnxruntime.quantization)"
            )


def _float32_only(nodes: Iterable[onnx.NodeProto], version: int) -> set[str]:
    """The tensors that operators take as float32 alone, such as the scales of a Resize."""
    found = set()
    for node in nodes:
        try:
            parameters = defs.get_schema(node.op_type, version, node.domain).inputs
        except defs.SchemaError as error:
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise ModelError(
                f"{_name(node)} is a {operator}, of which ONNX does not say whether it takes "
                "float16; export the model without it"
            ) from error
        for i, name in enumerate(node.input):
            # The last one stands for all further inputs.
            if parameters[min(i, len(parameters) - 1)].type_str == "tensor(float)":
                found.add(name)
    return found


def _halve_constants(
    constants: Mapping[str, onnx.TensorProto], scales: set[str], kept: set[str]
) -> None:
    for name, tensor in constants.items():
        if tensor.data_type == TensorProto.FLOAT and name not in kept:
            tensor.CopyFrom(_half(tensor, name, _SMALLEST_SCALE if name in scales else None))


def _half(
    tensor: onnx.TensorProto, owner: str, least: np.floating[Any] | None = None
) -> onnx.TensorProto:
    """The tensor in float16, with no value under `least`.

    Raises:
        ModelError: it has values that are finite in float32 alone.
    """
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


def _halve_attributes(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half(attribute.t, _name(node)))
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def _cast_ends(graph: onnx.GraphProto, original: onnx.GraphProto) -> None:
    """Gives the graph the ends that the original has, with a Cast where they are float32."""
    inputs = [value.name for value in fed(original) if _is_float32(value)]
    outputs = [value.name for value in original.output if _is_float32(value)]
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    inner = {name: _fresh(f"{name}.float16", taken) for name in (*inputs, *outputs)}
    rename(graph, inner)
    ends = {
        inner.get(value.name, value.name): value for value in (*fed(original), *original.output)
    }
    for value in (*graph.input, *graph.output):
        if value.name in ends:
            value.CopyFrom(ends[value.name])
    nodes = [
        *(_cast(name, inner[name], TensorProto.FLOAT16) for name in inputs),
        *graph.node,
        *(_cast(inner[name], name, TensorProto.FLOAT) for name in outputs),
    ]
    del graph.node[:]
    graph.node.extend(nodes)


def _is_float32(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _cast(source: str, result: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [result], name=f"{result}.cast", to=to)


def _check_types(model: onnx.ModelProto) -> None:
    """Raises ModelError where an operator cannot have float16, or computes in other floats."""
    try:
        graph = shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    except shape_inference.InferenceError as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"the model cannot compute in float16 ({first}); export it without that "
            "operator, or choose the precision fp32"
        ) from error
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    for node in graph.node:
        for name in node.output:
            if types.get(name) in (TensorProto.FLOAT, TensorProto.DOUBLE):
                raise ModelError(
                    f"{_name(node)} gives {TensorProto.DataType.Name(types[name])} whatever it is "
                    "fed; export the model without it, or choose the precision fp32"
                )


def _name(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type} of {', '.join(node.output)}"
