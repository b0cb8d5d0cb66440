"""Conversion of a model's arithmetic to float16, for runtimes that compute in the graph's types.

TensorRT 11 is such a runtime (its migration guide from 10.x). The `convert_float_to_float16` of
onnxruntime and onnxconverter-common does not serve here: both clamp values that are too large
without a warning, the former puts the Cast of an input behind the nodes that read it, and both
leave Q/DQ models at opsets in which scales cannot be float16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError

try:
    import onnx
    from onnx import TensorProto, helper, inliner, shape_inference, version_converter
except ImportError as error:
    raise missing("onnx") from error

from r2p_edge.export.graph.adapt import rename
from r2p_edge.export.graph.float16_constants import (
    check_quantised_constants,
    constants_to_initializers,
    float32_only,
    halve_attributes,
    halve_initializers,
    node_name,
    quantisation_scales,
)
from r2p_edge.export.graph.model import model_inputs, opset

# The first opset in which the scales of Q/DQ may be float16, and the IR version that came with it
# (onnx, docs/Versioning.md).
_QUANTISED_OPSET, _QUANTISED_IR = 19, 9

# The first in which their type may differ from the tensors', and the IR version of its release.
_MIXED_OPSET, _MIXED_IR = 23, 11


def half_from_float(model: onnx.ModelProto, *, float32_scales: bool = False) -> onnx.ModelProto:
    """Convert a model from float32 to float16 everywhere but at its inputs and outputs.

    Inputs and outputs keep name, shape and type; float32 ones get a Cast. Other tensors keep their
    names, and the metadata stay. Pixels are normalised in float16 too: it represents them exactly,
    and float32 would bring the logits no closer to the float32 model's. Values below float16's
    smallest become zero, except the scales of Q/DQ, which become the smallest.

    A tensor whose values pass 65504 only when the model runs becomes infinite there; running the
    result shows it.

    Args:
        model: float32, with its weights in it; it is left unchanged. Q/DQ models keep their int8,
            and are raised to opset 19 if theirs is older.
        float32_scales: True for Q/DQ scales that stay float32, which needs opset 23; ONNX Runtime
            1.32 does not run such a model.

    Returns:
        A new model.

    Raises:
        ModelError: a constant is too large for float16, a scale too small, or an operator cannot
            compute in float16; the message names it.
    """
    result = onnx.ModelProto()
    result.CopyFrom(inliner.inline_local_functions(model) if model.functions else model)
    result = _in_opset_of_scales(result, float32_scales)
    graphs = list(_graphs(result.graph))
    for graph in graphs:
        del graph.value_info[:]  # types that change
        constants_to_initializers(graph)
    nodes = [node for graph in graphs for node in graph.node]
    constants = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
    kept, scales = float32_only(nodes, opset(result)), quantisation_scales(nodes)
    if float32_scales:
        kept |= scales
        _dequantise_to_float16(nodes)
    else:
        check_quantised_constants(nodes, constants)
    halve_initializers(constants, scales, kept)
    for node in nodes:
        halve_attributes(node)
    for graph in graphs:
        for value in (*graph.input, *graph.output):
            if _is_float32(value):
                value.type.tensor_type.elem_type = TensorProto.FLOAT16
    _cast_ends(result.graph, model.graph)
    _check_types(result)
    return result


def _in_opset_of_scales(model: onnx.ModelProto, float32_scales: bool) -> onnx.ModelProto:
    """Return the model in an opset in which its Q/DQ nodes may have such scales."""
    wanted, ir = (_MIXED_OPSET, _MIXED_IR) if float32_scales else (_QUANTISED_OPSET, _QUANTISED_IR)
    if opset(model) >= wanted or not quantisation_scales(model.graph.node):
        return model
    try:
        converted = version_converter.convert_version(model, wanted)
    except Exception as error:  # ConvertError or RuntimeError, depending on the operator
        raise ModelError(
            f"onnx {onnx.__version__} cannot convert the quantised model from opset "
            f"{opset(model)} to {wanted} ({error}); export it in that opset"
        ) from error
    converted.ir_version = max(model.ir_version, ir)
    return converted


def _dequantise_to_float16(nodes: Iterable[onnx.NodeProto]) -> None:
    """Let DequantizeLinear give float16, which is otherwise the type of its scale."""
    for node in nodes:
        if node.op_type == "DequantizeLinear":
            node.attribute.append(helper.make_attribute("output_dtype", TensorProto.FLOAT16))


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and the inner graphs of control flow in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for each in inner:
                yield from _graphs(each)


def _cast_ends(graph: onnx.GraphProto, original: onnx.GraphProto) -> None:
    """Restore the original's inputs and outputs, with a Cast to or from each float32 one."""
    given = model_inputs(original)
    inputs = [value.name for value in given if _is_float32(value)]
    outputs = [value.name for value in original.output if _is_float32(value)]
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    inner = {name: _fresh(f"{name}.float16", taken) for name in (*inputs, *outputs)}
    rename(graph, inner)
    ends = {inner.get(value.name, value.name): value for value in (*given, *original.output)}
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
    """Raise ModelError if an operator rejects float16, or computes in other floats."""
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
                    f"{node_name(node)} gives {TensorProto.DataType.Name(types[name])} for any "
                    "input; export the model without it, or choose the precision fp32"
                )
